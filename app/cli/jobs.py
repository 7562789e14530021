"""`dc-relay jobs`: list, show, retry and cancel jobs, on the database directly."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import click

from app.advice import of_reason
from app.cli.access import each_page, open_database, page_options, print_next
from app.cli.common import json_option, settings_or_exit, with_options, yes_option
from app.cli.output import counted, print_json, print_pairs, print_table
from app.db import Storage
from app.queue.filters import STATES, JobFilter
from app.queue.operator import cancel_job, retry_job, retry_where
from app.queue.records import JobStory
from app.queue.search import count_jobs, list_jobs, show_job
from app.web.api import schemas

_JOB_ID = click.IntRange(1, 1 << 62)
_filter_options = with_options(
    click.option("--state", type=click.Choice(STATES)),
    click.option("--action", help="Such as localize, forward or unpublish."),
    click.option("--target", help="The destination's name, or the hub's key."),
    click.option("--reason", help="Why it is in its state, such as destination-refused."),
    click.option("--rule", help="The rule's name."),
    click.option("--hub", help="The hub's key."),
    click.option("--item", "item_id", help="Id of the content item."),
)
_COLUMNS = ("id", "state", "rule", "action", "target", "attempts", "reason", "created_at", "label")
_HEADINGS = ("ID", "STATE", "RULE", "ACTION", "TARGET", "TRIES", "REASON", "CREATED", "LABEL")


def _filter(chosen: dict[str, Any]) -> JobFilter:
    return JobFilter(**{name: value for name, value in chosen.items() if value is not None})


@click.group()
def jobs() -> None:
    """Look at jobs; retry or cancel them."""


@jobs.command("list")
@_filter_options
@page_options
def list_(*, limit: int, cursor: str | None, as_json: bool, **chosen: Any) -> None:
    """List jobs, newest first."""
    with open_database(settings_or_exit()) as storage:
        page = list_jobs(storage, _filter(chosen), limit=limit, cursor=cursor)
    if as_json:
        print_json(schemas.JobPage().dump(page))
        return
    print_table(_HEADINGS, ([getattr(row, name) for name in _COLUMNS] for row in page.rows))
    print_next(page.next)


@jobs.command()
@click.argument("job", type=_JOB_ID)
@json_option
def show(*, job: int, as_json: bool) -> None:
    """Show one job: its state and why, what to do, and its attempts."""
    with open_database(settings_or_exit()) as storage:
        story = show_job(storage, job)
    if as_json:
        print_json(schemas.JobWithHistory().dump(story))
        return
    click.echo(f"event {story.job.event_id}, {story.job.label or story.job.item_id or '-'}")
    print_job(story)


def print_job(story: JobStory) -> None:
    """Print a job's state and why, what to do, and its attempts."""
    job = story.job
    advice = of_reason(job.reason)
    click.echo(f"job {job.id}: rule {job.rule!r}, {job.action} at {job.target}: {job.state}")
    print_pairs(
        (
            ("  item", job.item_id),
            ("  reason", job.reason),
            ("  message", job.message),
            ("  it means", advice.meaning if advice else None),
            ("  what to do", advice.todo if advice and not advice.asks_for_nothing else None),
            ("  next try", job.run_at if job.state == "waiting" else None),
            ("  replay of", job.replay_of),
            ("  superseded by", job.superseded_by),
        )
    )
    for attempt in story.attempts:
        words = " ".join(filter(None, (attempt.outcome, attempt.reason, attempt.message)))
        at = attempt.finished_at
        ended = "at an unknown time" if at is None else f"{at:%Y-%m-%d %H:%M:%S}Z"
        click.echo(f"  attempt {attempt.number}, {ended}: {words}")


@jobs.command()
@click.argument("job", metavar="[JOB]...", nargs=-1, type=_JOB_ID)
@_filter_options
@yes_option
@json_option
def retry(*, job: tuple[int, ...], yes: bool, as_json: bool, **chosen: Any) -> None:
    """Let jobs run now, with all of their retries again: these, or all that the options find.

    With options, --state is dead unless you say cancelled or waiting.
    """
    wanted = _filter(chosen)
    if bool(job) != wanted.is_open:
        raise click.UsageError("Name jobs, or say with options which ones.")
    if job:
        _change_each(job, retry_job, as_json=as_json)
        return
    wanted = _filter({**chosen, "state": wanted.state or "dead"})
    with open_database(settings_or_exit()) as storage:
        if yes:
            found = each_page(partial(retry_where, storage, wanted), "jobs", "superseded")
        else:
            found = {"dry_run": True, "jobs": count_jobs(storage, wanted)}
    if as_json:
        print_json(found)
    elif not yes:
        click.echo(f"{counted(found['jobs'], 'job')} would be retried; --yes does it.")
    else:
        retried = counted(found["jobs"], "job")
        click.echo(f"{retried} retried; {found['superseded']} superseded by a newer one.")
        for reason, count in found["refused"].items():
            click.echo(f"{count} not retried: {reason}")


@jobs.command()
@click.argument("job", metavar="JOB...", nargs=-1, required=True, type=_JOB_ID)
@json_option
def cancel(*, job: tuple[int, ...], as_json: bool) -> None:
    """Cancel waiting or dead jobs. They stay in the database as cancelled."""
    _change_each(job, cancel_job, as_json=as_json)


def _change_each(
    identifiers: tuple[int, ...], verb: Callable[[Storage, int], object], *, as_json: bool
) -> None:
    """Do it to one after the other; the first that is refused ends the command."""
    done = []
    with open_database(settings_or_exit()) as storage:
        for identifier in identifiers:
            verb(storage, identifier)
            story = show_job(storage, identifier)
            done.append(schemas.JobWithHistory().dump(story))
            if not as_json:
                click.echo(f"job {identifier}: {story.job.state}")
    if as_json:
        print_json(done)
