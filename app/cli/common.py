"""What all commands share: options, settings, logs and error reports, and ending on a signal."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

import click

from app import __version__
from app.config import Settings, load_settings
from app.errors import ConfigError
from app.observability import configure_logging, configure_sentry

FAULTY_CONFIGURATION = 2
# Where the click context keeps the settings once they are loaded.
SETTINGS = __name__
# From a supervisor, and from a terminal that is closed.
_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)

Command = TypeVar("Command", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
hub_option = click.option(
    "--hub", "hub_key", help="The hub of the settings; needed where there are several."
)
yes_option = click.option(
    "--yes", is_flag=True, help="Do it; without this, what is found is only counted."
)


def with_options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Make several options one decorator; they are listed in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def settings_or_exit() -> Settings:
    """Load the settings; on faults, print every one and exit with 2."""
    try:
        settings = load_settings(os.environ)
    except ConfigError as error:
        click.echo("The configuration cannot be used:", err=True)
        for problem in error.problems:
            click.echo(f"  {problem}", err=True)
        sys.exit(FAULTY_CONFIGURATION)
    click.get_current_context().meta[SETTINGS] = settings
    return settings


def start_observing(settings: Settings) -> None:
    """Set up logs and error reports as the settings say."""
    configure_logging(settings.log_level, settings.log_format, secrets=settings.secrets)
    configure_sentry(
        settings.sentry_dsn,
        settings.sentry_environment,
        f"dc-relay@{__version__}",
        secrets=settings.secrets,
    )


def interrupt_on_signals() -> None:
    """Have SIGTERM and SIGHUP raise `KeyboardInterrupt`, so that child processes end as well.

    Once: a second signal must not break off what the first one began.
    """
    for number in _ENDING_SIGNALS:
        signal.signal(number, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    for number in _ENDING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
