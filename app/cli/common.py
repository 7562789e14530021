"""What all commands share: options, settings, the choice of a hub, logs and error reports."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from app import __version__
from app.config import Destination, Hub, Settings, load_settings
from app.errors import ConfigError
from app.observability import configure_logging, configure_sentry

FAULTY_CONFIGURATION = 2
# Where the click context keeps the settings once they are loaded.
SETTINGS = __name__

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


def choose_hub(settings: Settings, key: str | None) -> Hub:
    """The hub of the settings called `key`, or the only one; else a UsageError."""
    keys = ", ".join(hub.key for hub in settings.hubs)
    if key is None:
        if len(settings.hubs) != 1:
            raise click.UsageError(f"There are several hubs: choose one with --hub: {keys}.")
        return settings.hubs[0]
    hub = settings.hub(key)
    if hub is None:
        raise click.UsageError(f"There is no hub {key!r} in the settings. There is: {keys}.")
    return hub


def choose_destination(settings: Settings, name: str) -> Destination:
    """The destination called `name`; a UsageError where there is none."""
    destination = settings.destination(name)
    if destination is None:
        raise unknown_destination(name, [each.name for each in settings.destinations])
    return destination


def unknown_destination(name: str, known: list[str]) -> click.UsageError:
    """The error for a name that is none of the known ones."""
    return click.UsageError(
        f"There is no destination {name!r}. There is: {', '.join(known) or 'none'}."
    )


def hub_id_of(hub: Hub) -> str:
    """Amplience's id of the hub; a UsageError where the settings do not have it."""
    if hub.id is None:
        raise click.UsageError(
            f"The id of the hub {hub.key} is not set: set AMPLIENCE_HUB_ID, or id in"
            f" [hubs.{hub.key}]; `dc-relay check` lists the hubs."
        )
    return hub.id
