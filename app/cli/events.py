"""`dc-relay events`: list, show and replay events. `dc-relay explain`: which rules want one."""

from __future__ import annotations

from datetime import UTC
from functools import partial
from pathlib import Path
from typing import Any

import click

from app.cli.access import each_page, open_database, page_options, print_next
from app.cli.common import (
    choose_hub,
    hub_option,
    json_option,
    settings_or_exit,
    with_options,
    yes_option,
)
from app.cli.jobs import print_job
from app.cli.output import counted, print_json, print_pairs, print_table
from app.cli.sampling import event_name, sample
from app.config import Settings
from app.events import WebhookEvent
from app.queue.filters import STATES, EventFilter
from app.queue.operator import planner, replay_event, replay_where, reread
from app.queue.records import EventStory
from app.queue.search import count_events, find_event, list_events, read_event, show_event
from app.rules import Explanation, Plan
from app.schemas import load_event
from app.web.api import schemas
from app.web.api.rules import explained

_TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"])
_filter_options = with_options(
    click.option("--event-id", help="Amplience's id of the event."),
    click.option("--item", "item_id", help="Id of the content item."),
    click.option("--label", help="A part of the label."),
    click.option("--schema", help="A part of the content type's URI."),
    click.option("--name", help="The event's whole name."),
    click.option("--hub", help="The hub's key."),
    click.option("--state", type=click.Choice(STATES), help="It has a job in this state."),
    click.option("--target", help="It has a job for this destination, or this hub."),
    click.option("--from", "received_from", type=_TIME, help="Received then or later (UTC)."),
    click.option("--to", "received_to", type=_TIME, help="Received earlier (UTC)."),
)


def _filter(chosen: dict[str, Any]) -> EventFilter:
    given = {name: value for name, value in chosen.items() if value is not None}
    for name in given.keys() & {"received_from", "received_to"}:
        given[name] = given[name].replace(tzinfo=UTC)
    return EventFilter(**given)


@click.group()
def events() -> None:
    """Look at events, and replay them."""


@events.command("list")
@_filter_options
@page_options
def list_(*, limit: int, cursor: str | None, as_json: bool, **chosen: Any) -> None:
    """List events, newest first."""
    with open_database(settings_or_exit()) as storage:
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
    print_next(page.next)


@events.command()
@click.argument("event", metavar="EVENT_ID")
@json_option
def show(*, event: str, as_json: bool) -> None:
    """Show one event with its jobs and attempts, by Amplience's id or by its number here."""
    with open_database(settings_or_exit()) as storage:
        story = show_event(storage, find_event(storage, event))
    if as_json:
        print_json(schemas.EventWithJobs().dump(story))
    else:
        _print_event(story)


def _print_event(story: EventStory) -> None:
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
        print_job(job)


@events.command()
@click.argument("event", metavar="[EVENT_ID]", required=False)
@_filter_options
@yes_option
@json_option
def replay(*, event: str | None, yes: bool, as_json: bool, **chosen: Any) -> None:
    """Replay one event, or with options every event that they find.

    The rules of today decide. Jobs that are waiting or running already stay as they are.
    """
    wanted = _filter(chosen)
    if (event is None) == wanted.is_open:
        raise click.UsageError("Name one event, or say with options which ones.")
    settings = settings_or_exit()
    if event is not None:
        _replay_one(settings, event, as_json=as_json)
    else:
        _replay_many(settings, wanted, yes=yes, as_json=as_json)


def _replay_one(settings: Settings, event: str, *, as_json: bool) -> None:
    with open_database(settings) as storage:
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


def _replay_many(settings: Settings, wanted: EventFilter, *, yes: bool, as_json: bool) -> None:
    plan = planner(settings)
    with open_database(settings) as storage:
        if yes:
            step = partial(replay_where, storage, wanted, plan)
            found = each_page(step, "events", "jobs", "active")
        else:
            found = {"dry_run": True, "events": count_events(storage, wanted)}
    if as_json:
        print_json(found)
    elif not yes:
        click.echo(f"{counted(found['events'], 'event')} would be replayed; --yes does it.")
    else:
        click.echo(
            f"{counted(found['events'], 'event')} replayed: {counted(found['jobs'], 'new job')},"
            f" {found['active']} were waiting or running already."
        )
        for reason, count in found["refused"].items():
            click.echo(f"{count} not replayed: {reason}")


@click.command()
@click.argument("event", metavar="FILE|EVENT_ID|SAMPLE")
@hub_option
@json_option
def explain(*, event: str, hub_key: str | None, as_json: bool) -> None:
    """Tell which rules want an event, and why not the others.

    The event is a file with a webhook's body, the id of an event that was received, or the name of
    a sample, such as snapshot.published.
    """
    settings = settings_or_exit()
    found = explained(_event(event, settings, hub_key), settings)
    if as_json:
        print_json(schemas.Explained().dump(found))
        return
    click.echo(f"{found.name} of hub {found.hub}, item {found.item_id or '-'}")
    if not found.rules:
        click.echo("There are no rules.")
    for explanation in found.rules:
        _print_explanation(explanation, [plan for plan in found.plans if _is_of(plan, explanation)])


def _print_explanation(explanation: Explanation, plans: list[Plan]) -> None:
    rule = explanation.rule
    if explanation.item_id:
        rule += f", item {explanation.item_id}"
    if explanation.matched:
        jobs = ", ".join(f"{plan.action} at {plan.target}" for plan in plans)
        click.echo(f"  yes  {rule}: {jobs or 'one job for all items'}")
        return
    found = explanation.found
    value = "nothing there" if found is None or found == [] else f"here it is {found!r}"
    click.echo(f"  no   {rule}: it needs that {explanation.condition}; {value}")


def _is_of(plan: Plan, explanation: Explanation) -> bool:
    wanted = explanation.item_id
    return plan.rule == explanation.rule and wanted in (None, plan.args.get("item_id"))


def _event(text: str, settings: Settings, hub_key: str | None) -> WebhookEvent:
    path = Path(text)
    if path.is_file():
        try:
            body = path.read_bytes()
        except OSError as error:
            raise click.ClickException(f"cannot read {text}: {error.strerror}") from error
    elif name := event_name(text):
        body = sample(name)
    else:
        with open_database(settings) as storage:
            return reread(read_event(storage, find_event(storage, text)))
    return load_event(body, hub=choose_hub(settings, hub_key).key)
