"""`dc-relay check`: the configuration, then every connection, before anything runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict

import click

from app.cli.common import FAULTY_CONFIGURATION, settings_or_exit
from app.cli.output import counted, print_json
from app.config import Settings, load_settings
from app.errors import ConfigError, ConfigProblem
from app.operations.checks import Outcome, run_checks
from app.operations.config_warnings import config_warnings

_NAME_WIDTH = 27


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
@click.option("--offline", is_flag=True, help="Check the configuration only.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1, max=300),
    default=20.0,
    show_default=True,
    help="Seconds for each check.",
)
def check(*, as_json: bool, offline: bool, timeout: float) -> None:
    """Check the configuration and every connection.

    Nothing is changed, made or sent: Amplience is only read from, and a destination is only
    connected to. Exits with 0 when all is fine, 2 when the configuration has a fault, 1 when a
    connection failed.
    """
    settings = _settings_or_json() if as_json else settings_or_exit()
    warnings = config_warnings(settings)
    if not as_json:
        _print_configuration(settings, warnings)
    outcomes = []
    for outcome in () if offline else run_checks(settings, limit=timeout):
        outcomes.append(outcome)
        if not as_json:
            _print_outcome(outcome)
    failed = sum(not outcome.ok for outcome in outcomes)
    if as_json:
        _print_report([], warnings, outcomes)
    elif failed:
        click.echo(f"{failed} of {len(outcomes)} checks failed.")
    else:
        click.echo("All is fine." if outcomes else "The configuration is fine.")
    if failed:
        sys.exit(1)


def _settings_or_json() -> Settings:
    try:
        return load_settings(os.environ)
    except ConfigError as error:
        _print_report(error.problems, [], [])
        sys.exit(FAULTY_CONFIGURATION)


def _print_report(
    problems: Sequence[ConfigProblem],
    warnings: Sequence[ConfigProblem],
    outcomes: Sequence[Outcome],
) -> None:
    print_json(
        {
            "ok": not problems and all(outcome.ok for outcome in outcomes),
            "problems": [asdict(problem) for problem in problems],
            "warnings": [asdict(warning) for warning in warnings],
            "checks": [asdict(outcome) for outcome in outcomes],
        }
    )


def _print_configuration(settings: Settings, warnings: Sequence[ConfigProblem]) -> None:
    counts = (
        counted(len(settings.hubs), "hub"),
        counted(len(settings.rules), "rule"),
        counted(len(settings.destinations), "destination"),
    )
    _print_line("✓", "green", "configuration", ", ".join(counts))
    for warning in warnings:
        _print_line("!", "yellow", warning.place, f"{warning.message} {warning.advice}")


def _print_outcome(outcome: Outcome) -> None:
    mark, color = ("✓", "green") if outcome.ok else ("✗", "red")
    _print_line(mark, color, outcome.name, f"{outcome.detail} ({outcome.milliseconds} ms)")


def _print_line(mark: str, color: str, name: str, text: str) -> None:
    click.echo(f"{click.style(mark, fg=color)} {name:<{_NAME_WIDTH}} {text}")
