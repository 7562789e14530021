"""`dc-relay events`: list, show and replay events, on the database directly."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from app.cli.job_story import tell_job
from app.cli.opening import opened
from app.cli.paging import as_json_option, page_options, tell_next, with_options
from app.cli.starting import settings_or_exit
from app.cli.tables import counted, print_json, print_pairs, print_table
from app.ledger.filters import STATES, EventFilter
from app.ledger.mending import replay_event
from app.ledger.mending_many import replay_where
from app.ledger.planning import planner
from app.ledger.records import EventStory
from app.ledger.searching import count_events, find_event, list_events, read_event, show_event
from app.web.api import schemas

_Command = TypeVar("_Command", bound=Callable[..., object])


def _filters(command: _Command) -> _Command:
    """The options that choose events."""
    moments = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"])
    options = (
        click.option("--event-id", help="Amplience's id of the event."),
        click.option("--item", "item_id", help="Id of the content item."),
        click.option("--label", help="A part of the label."),
        click.option("--schema", help="A part of the content type's URI."),
        click.option("--name", help="The event's whole name."),
        click.option("--hub", help="The hub's key."),
        click.option("--state", type=click.Choice(STATES), help="It has a job in this state."),
        click.option("--target", help="It has a job for this destination, or this hub."),
        click.option("--from", "received_from", type=moments, help="Received then or later (UTC)."),
        click.option("--to", "received_to", type=moments, help="Received earlier (UTC)."),
    )
    return with_options(options)(command)


def _filter(chosen: dict[str, Any]) -> EventFilter:
    given = {name: value for name, value in chosen.items() if value is not None}
    for name in ("received_from", "received_to"):
        if isinstance(given.get(name), datetime):
            given[name] = given[name].replace(tzinfo=UTC)
    return EventFilter(**given)


@click.group()
def events() -> None:
    """Look at events, and do them again."""


@events.command("list")
@_filters
@page_options
def list_(*, limit: int, cursor: str | None, as_json: bool, **chosen: Any) -> None:
    """List events, newest first."""
    with opened(settings_or_exit()) as storage:
        page = list_events(storage, _filter(chosen), limit=limit, cursor=cursor)
    if as_json:
        print_json(schemas.EventPage().dump(page))
        return
    print_table(
        ("ID", "RECEIVED", "HUB", "NAME", "LABEL", "JOBS", "EVENT ID"),
        (
            (
                row.id,
                row.received_at,
                row.hub,
                row.name.removeprefix("dynamic-content."),
                row.label,
                ", ".join(f"{count} {state}" for state, count in row.states.items()) or None,
                row.event_id,
            )
            for row in page.rows
        ),
    )
    tell_next(page.next)


@events.command()
@click.argument("event", metavar="EVENT_ID")
@as_json_option
def show(*, event: str, as_json: bool) -> None:
    """Show one event with its jobs and attempts, by Amplience's id or by its number here."""
    with opened(settings_or_exit()) as storage:
        story = show_event(storage, find_event(storage, event))
    if as_json:
        print_json(schemas.EventWithJobs().dump(story))
        return
    _tell(story)


def _tell(story: EventStory) -> None:
    event = story.event
    print_pairs(
        (
            ("event", event.event_id),
            ("number", event.id),
            ("hub", event.hub),
            ("name", event.name),
            ("received", event.received_at),
            ("label", event.label),
            ("item", ", ".join(story.items) or None),
            ("locale", event.locale),
            ("content type", event.schema),
            ("snapshot", event.snapshot_id),
            ("request", event.request_id),
            ("trace", event.trace_id),
            ("conflicts", len(story.conflicts) or None),
        )
    )
    if not story.jobs:
        click.echo("\nNo rule wanted it: `dc-relay explain` says why.")
    for job in story.jobs:
        click.echo()
        tell_job(job)


@events.command()
@click.argument("event", metavar="[EVENT_ID]", required=False)
@_filters
@click.option("--yes", is_flag=True, help="Do it; without this, what is found is only counted.")
@as_json_option
def replay(*, event: str | None, yes: bool, as_json: bool, **chosen: Any) -> None:
    """Do one event again, or with options every event that they find.

    The rules of today decide. A job that waits or runs already stands.
    """
    wanted = _filter(chosen)
    if (event is None) == wanted.is_open:
        raise click.UsageError("Name one event, or say with options which ones.")
    if event is not None:
        _replay_one(event, as_json=as_json)
    else:
        _replay_many(wanted, yes=yes, as_json=as_json)


def _replay_one(event: str, *, as_json: bool) -> None:
    settings = settings_or_exit()
    with opened(settings) as storage:
        identifier = find_event(storage, event)
        done = replay_event(storage, identifier, planner(settings)(read_event(storage, identifier)))
    if as_json:
        print_json(schemas.Replayed().dump(done))
        return
    for made in done.made:
        click.echo(f"job {made} waits")
    for active in done.active:
        click.echo(f"job {active} was waiting or running already")
    if not done.made and not done.active:
        click.echo("No rule of today wants it: `dc-relay explain` says why.")


def _replay_many(wanted: EventFilter, *, yes: bool, as_json: bool) -> None:
    settings = settings_or_exit()
    plan = planner(settings)
    with opened(settings) as storage:
        if not yes:
            count = count_events(storage, wanted)
            _tell_count({"dry_run": True, "events": count}, as_json=as_json)
            return
        total: dict[str, Any] = {"dry_run": False, "events": 0, "jobs": 0, "active": 0}
        refused: dict[str, int] = {}
        cursor: str | None = None
        while True:
            done = replay_where(storage, wanted, plan, cursor=cursor)
            for name in ("events", "jobs", "active"):
                total[name] += getattr(done, name)
            for reason, count in done.refused.items():
                refused[reason] = refused.get(reason, 0) + count
            cursor = done.next
            if cursor is None:
                break
    _tell_count({**total, "refused": refused}, as_json=as_json)


def _tell_count(counts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(counts)
    elif counts["dry_run"]:
        click.echo(f"{counted(counts['events'], 'event')} would be replayed; --yes does it.")
    else:
        click.echo(
            f"{counted(counts['events'], 'event')} replayed: {counted(counts['jobs'], 'new job')},"
            f" {counts['active']} were waiting or running already."
        )
        for reason, count in counts["refused"].items():
            click.echo(f"{count} not replayed: {reason}")
