"""`dc-relay check`: the configuration, then every connection, before anything runs.

Only shows: what is checked, and how, is in the modules beside it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict

import click

from app.cli.starting import FAULTY_CONFIGURATION, settings_or_exit
from app.config import Settings, load_settings
from app.errors import ConfigError, ConfigProblem
from app.observability import Mask
from app.operations.checks import Outcome, checks_of, run
from app.operations.config_warnings import surprises

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
    warnings = surprises(settings)
    if not as_json:
        _tell_configuration(settings, warnings)
    outcomes = []
    for outcome in _outcomes(settings, timeout=timeout) if not offline else ():
        outcomes.append(outcome)
        if not as_json:
            _tell(outcome)
    if as_json:
        _print_json([], warnings, outcomes)
    else:
        _tell_sum(outcomes)
    if not all(outcome.ok for outcome in outcomes):
        sys.exit(1)


def _outcomes(settings: Settings, *, timeout: float) -> Iterable[Outcome]:
    # Details are made without secrets; what Amplience answers is quoted, so they are masked too.
    mask = Mask(settings.secrets)
    for each in checks_of(settings, limit=timeout):
        found = run(each, limit=timeout)
        yield Outcome(found.name, found.ok, mask.text(found.detail), found.milliseconds)


def _settings_or_json() -> Settings:
    try:
        return load_settings(os.environ)
    except ConfigError as error:
        _print_json(error.problems, [], [])
        sys.exit(FAULTY_CONFIGURATION)


def _print_json(
    problems: Sequence[ConfigProblem],
    warnings: Sequence[ConfigProblem],
    outcomes: Sequence[Outcome],
) -> None:
    found = {
        "ok": not problems and all(outcome.ok for outcome in outcomes),
        "problems": [asdict(problem) for problem in problems],
        "warnings": [asdict(warning) for warning in warnings],
        "checks": [asdict(outcome) for outcome in outcomes],
    }
    click.echo(json.dumps(found, indent=2))


def _tell_configuration(settings: Settings, warnings: Sequence[ConfigProblem]) -> None:
    counted = (
        f"{len(found)} {name}{'' if len(found) == 1 else 's'}"
        for name, found in (
            ("hub", settings.hubs),
            ("rule", settings.rules),
            ("destination", settings.destinations),
        )
    )
    _line("✓", "green", "configuration", ", ".join(counted))
    for warning in warnings:
        _line("!", "yellow", warning.place, f"{warning.message} {warning.advice}")


def _tell(outcome: Outcome) -> None:
    mark, color = ("✓", "green") if outcome.ok else ("✗", "red")
    _line(mark, color, outcome.name, f"{outcome.detail} ({outcome.milliseconds} ms)")


def _tell_sum(outcomes: Sequence[Outcome]) -> None:
    failed = sum(not outcome.ok for outcome in outcomes)
    if failed:
        click.echo(f"{failed} of {len(outcomes)} checks failed.")
    else:
        click.echo("All is fine." if outcomes else "The configuration is fine.")


def _line(mark: str, color: str, name: str, text: str) -> None:
    click.echo(f"{click.style(mark, fg=color)} {name:<{_NAME_WIDTH}} {text}")
