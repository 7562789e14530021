"""`dc-relay destinations`: their state and queue; pause, resume and test them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from app.advice import why_paused
from app.bootstrap import send_test
from app.cli.access import open_database
from app.cli.common import choose_destination, json_option, settings_or_exit, unknown_destination
from app.cli.output import age, print_json, print_table
from app.config import Settings
from app.db import Storage
from app.destinations.hiding import masked_url
from app.queue.delivered_versions import forget_sent
from app.queue.operator import pause as pause_destination
from app.queue.operator import resume as resume_destination
from app.queue.stats import DestinationRow, list_destinations
from app.web.api import schemas


@click.group()
def destinations() -> None:
    """Look at destinations; pause, resume and test them."""


@destinations.command("list")
@json_option
def list_(*, as_json: bool) -> None:
    """List destinations with their state and queue."""
    settings = settings_or_exit()
    with open_database(settings) as storage:
        rows = _rows(storage, settings)
    if as_json:
        shown = [_document(row, settings) for row in rows]
        print_json(schemas.DestinationList().dump({"destinations": shown}))
        return
    print_table(
        ("NAME", "STATE", "WAITING", "RUNNING", "DEAD", "OLDEST"),
        (
            (row.name, _state(row), row.waiting, row.running, row.dead, age(row.oldest_age))
            for row in rows
        ),
    )


def _rows(storage: Storage, settings: Settings) -> list[DestinationRow]:
    return list_destinations(storage, [each.name for each in settings.destinations])


def _document(row: DestinationRow, settings: Settings) -> dict[str, Any]:
    destination = settings.destination(row.name)
    return {**vars(row), "url": masked_url(destination.url) if destination else None}


def _state(row: DestinationRow) -> str:
    words = []
    if not row.configured:
        words.append("not configured")
    if row.paused_at:
        words.append(f"paused ({why_paused(row.paused_reason)})")
    if row.breaker != "closed":
        words.append(f"breaker {row.breaker}")
    return ", ".join(words) or "flowing"


def _change(name: str, change: Callable[[Storage], object], text: str, *, as_json: bool) -> None:
    """Change one destination, and print its new state."""
    settings = settings_or_exit()
    with open_database(settings) as storage:
        names = [row.name for row in _rows(storage, settings)]
        if name not in names:
            raise unknown_destination(name, names)
        change(storage)
        [row] = [row for row in _rows(storage, settings) if row.name == name]
    if as_json:
        print_json(schemas.Destination().dump(_document(row, settings)))
    else:
        click.echo(text)


@destinations.command()
@click.argument("name")
@click.option("--reason", default="by-hand", show_default=True, help="Why, for other operators.")
@json_option
def pause(*, name: str, reason: str, as_json: bool) -> None:
    """Stop sending to a destination until it is resumed; its queue is kept."""
    _change(
        name,
        lambda storage: pause_destination(storage, name, reason),
        f"{name} is paused; its queue is kept.",
        as_json=as_json,
    )


@destinations.command()
@click.argument("name")
@json_option
def resume(*, name: str, as_json: bool) -> None:
    """Send a destination its queue again; where its breaker is open, it is tried now."""
    _change(
        name,
        lambda storage: resume_destination(storage, name),
        f"{name} gets its queue again.",
        as_json=as_json,
    )


@destinations.command()
@click.argument("name")
@click.argument("item")
@json_option
def forget(*, name: str, item: str, as_json: bool) -> None:
    """Forget what a destination was sent of an item (its id), so that the next job sends it anew.

    A way out where jobs of the item are superseded as `newer-sent` without a newer version at the
    destination. Replay or publish the item afterwards.
    """
    with open_database(settings_or_exit()) as storage:
        count = forget_sent(storage, destination=name, item_id=item)
    if as_json:
        print_json({"destination": name, "item": item, "forgotten": count})
    elif count:
        click.echo(f"Forgotten. The next job for {item} at {name} is sent, whatever its version.")
    else:
        click.echo(f"Nothing is recorded as sent to {name} for {item}.")


@destinations.command()
@click.argument("name")
@json_option
def test(*, name: str, as_json: bool) -> None:
    """Send a destination one signed message of type dc-relay.test, and show the answer."""
    trial = send_test(choose_destination(settings_or_exit(), name))
    if as_json:
        print_json(schemas.Trial().dump(trial))
    elif trial.ok:
        text = " ".join(trial.answer.split())
        click.echo(
            f"{name} accepted it: {trial.status} in {trial.milliseconds} ms. {text}".rstrip()
        )
    else:
        click.echo(f"{name} did not accept it: {trial.message}")
    if not trial.ok:
        sys.exit(1)
