"""`dc-relay destinations`: how they fare; pause, resume and test them."""

from __future__ import annotations

import sys

import click

from app.bootstrap import send_test
from app.cli.opening import opened
from app.cli.starting import settings_or_exit
from app.cli.tables import age, print_json, print_table
from app.config import Settings
from app.destinations.hiding import masked_url
from app.errors import VerbRefused
from app.ledger.mending import pause as pause_destination
from app.ledger.mending import resume as resume_destination
from app.ledger.numbers import DestinationRow, list_destinations
from app.storage import Storage
from app.web.api import schemas

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def destinations() -> None:
    """Look at destinations; pause, resume and test them."""


def _rows(storage: Storage, settings: Settings) -> list[DestinationRow]:
    return list_destinations(storage, [place.name for place in settings.destinations])


@destinations.command("list")
@_as_json
def list_(*, as_json: bool) -> None:
    """List destinations with their state and queue."""
    settings = settings_or_exit()
    with opened(settings) as storage:
        rows = _rows(storage, settings)
    if as_json:
        urls = {place.name: masked_url(place.url) for place in settings.destinations}
        named = [{**vars(row), "url": urls.get(row.name)} for row in rows]
        print_json(schemas.DestinationList().dump({"destinations": named}))
        return
    print_table(
        ("NAME", "STATE", "WAITING", "RUNNING", "DEAD", "OLDEST"),
        (
            (row.name, _state(row), row.waiting, row.running, row.dead, age(row.oldest_age))
            for row in rows
        ),
    )


def _state(row: DestinationRow) -> str:
    words = []
    if not row.configured:
        words.append("not configured")
    if row.paused_at:
        words.append(f"paused ({row.paused_reason})")
    if row.breaker != "closed":
        words.append(f"breaker {row.breaker}")
    return ", ".join(words) or "good"


def _checked(storage: Storage, settings: Settings, name: str) -> str:
    names = [row.name for row in _rows(storage, settings)]
    if name not in names:
        known = ", ".join(names) or "none"
        raise click.UsageError(f"There is no destination {name!r}. There is: {known}.")
    return name


@destinations.command()
@click.argument("name")
@click.option("--reason", default="by-hand", show_default=True, help="For who looks next.")
def pause(*, name: str, reason: str) -> None:
    """Send a destination nothing more until it is resumed; its queue is kept."""
    settings = settings_or_exit()
    with opened(settings) as storage:
        pause_destination(storage, _checked(storage, settings, name), reason)
    click.echo(f"{name} is paused; its queue is kept.")


@destinations.command()
@click.argument("name")
def resume(*, name: str) -> None:
    """Let a destination have its queue again; where its breaker is open, it is tried now."""
    settings = settings_or_exit()
    with opened(settings) as storage:
        resume_destination(storage, _checked(storage, settings, name))
    click.echo(f"{name} gets its queue again.")


@destinations.command()
@click.argument("name")
@_as_json
def test(*, name: str, as_json: bool) -> None:
    """Send a destination one signed message of type dc-relay.test, and show the answer."""
    settings = settings_or_exit()
    place = settings.destination(name)
    if place is None:
        known = ", ".join(each.name for each in settings.destinations) or "none"
        raise click.UsageError(f"There is no destination {name!r}. There is: {known}.")
    try:
        trial = send_test(place)
    except VerbRefused as error:
        raise click.ClickException(f"{error.detail} ({error.reason})") from error
    if as_json:
        print_json(schemas.Trial().dump(trial))
    elif trial.ok:
        text = " ".join(trial.answer.split())
        click.echo(f"{name} took it: {trial.status} in {trial.milliseconds} ms. {text}".rstrip())
    else:
        click.echo(f"{name} did not take it: {trial.message}")
    if not trial.ok:
        sys.exit(1)
