"""What the commands that ask Amplience start from: which hub, and a client for it.

A choice that cannot be made ends the command with 2 and says what to choose from. This module must
not know what is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import click

from app.amplience.management import ManagementClient
from app.config import Destination, Hub, Settings
from app.errors import AmplienceError
from app.observability import Mask
from app.operations.reasons import why_no_answer


def chosen_hub(settings: Settings, key: str | None) -> Hub:
    """The hub of the settings called `key`, or the only one; a UsageError where it is neither."""
    keys = ", ".join(hub.key for hub in settings.hubs)
    if key is None:
        if len(settings.hubs) != 1:
            raise click.UsageError(f"There are several hubs: choose one with --hub: {keys}.")
        return settings.hubs[0]
    hub = settings.hub(key)
    if hub is None:
        raise click.UsageError(f"There is no hub {key!r} in the settings. There is: {keys}.")
    return hub


def chosen_destination(settings: Settings, name: str) -> Destination:
    """The destination called `name`; a UsageError where there is none."""
    place = settings.destination(name)
    if place is None:
        names = ", ".join(each.name for each in settings.destinations) or "none"
        raise click.UsageError(f"There is no destination {name!r}. There is: {names}.")
    return place


def hub_id_of(hub: Hub) -> str:
    """Amplience's id of the hub; a UsageError where the settings do not have it."""
    if hub.id is None:
        raise click.UsageError(
            f"The id of the hub {hub.key} is not set: set AMPLIENCE_HUB_ID, or id in"
            f" [hubs.{hub.key}]; `dc-relay check` lists the hubs."
        )
    return hub.id


@contextmanager
def management_of(settings: Settings, hub: Hub) -> Iterator[ManagementClient]:
    """A client for the hub's Management API; a UsageError where it has no credentials."""
    if hub.credentials is None:
        raise click.UsageError(
            f"The hub {hub.key} has no credentials: set AMPLIENCE_CLIENT_ID and"
            f" AMPLIENCE_CLIENT_SECRET, or client_id and client_secret in [hubs.{hub.key}]."
        )
    with closing(ManagementClient(credentials=hub.credentials, hosts=settings.amplience)) as client:
        yield client


@contextmanager
def telling_failures(settings: Settings) -> Iterator[None]:
    """Turn what Amplience refused within the block into a line without secrets, and exit 1."""
    try:
        yield
    except AmplienceError as problem:
        raise click.ClickException(failure_text(settings, problem)) from problem


def failure_text(settings: Settings, problem: AmplienceError) -> str:
    """Say what went wrong, without secrets."""
    why = f" ({why_no_answer(problem)})" if problem.status is None and problem.__cause__ else ""
    return Mask(settings.secrets).text(f"{problem}{why}")
