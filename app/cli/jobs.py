"""`dc-relay jobs`: list, show, retry and cancel jobs, on the database directly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import click

from app.cli.job_story import tell_job
from app.cli.opening import opened
from app.cli.paging import as_json_option, page_options, tell_next, with_options
from app.cli.starting import settings_or_exit
from app.cli.tables import counted, print_json, print_table
from app.ledger.filters import STATES, JobFilter
from app.ledger.mending import cancel_job, retry_job
from app.ledger.mending_many import retry_where
from app.ledger.searching import count_jobs, list_jobs, show_job
from app.storage import Storage
from app.web.api import schemas

_Command = TypeVar("_Command", bound=Callable[..., object])


def _filters(command: _Command) -> _Command:
    """The options that choose jobs."""
    options = (
        click.option("--state", type=click.Choice(STATES)),
        click.option("--action", help="Such as localize, forward or unpublish."),
        click.option("--target", help="The destination's name, or the hub's key."),
        click.option("--reason", help="Why it is as it is, such as destination-refused."),
        click.option("--rule", help="The rule's name."),
        click.option("--hub", help="The hub's key."),
        click.option("--item", "item_id", help="Id of the content item."),
    )
    return with_options(options)(command)


def _filter(chosen: dict[str, Any]) -> JobFilter:
    return JobFilter(**{name: value for name, value in chosen.items() if value is not None})


@click.group()
def jobs() -> None:
    """Look at jobs; retry or cancel them."""


@jobs.command("list")
@_filters
@page_options
def list_(*, limit: int, cursor: str | None, as_json: bool, **chosen: Any) -> None:
    """List jobs, newest first."""
    with opened(settings_or_exit()) as storage:
        page = list_jobs(storage, _filter(chosen), limit=limit, cursor=cursor)
    if as_json:
        print_json(schemas.JobPage().dump(page))
        return
    print_table(
        ("ID", "STATE", "RULE", "ACTION", "TARGET", "TRIES", "REASON", "CREATED", "LABEL"),
        (
            (
                row.id,
                row.state,
                row.rule,
                row.action,
                row.target,
                row.attempts,
                row.reason,
                row.created_at,
                row.label,
            )
            for row in page.rows
        ),
    )
    tell_next(page.next)


@jobs.command()
@click.argument("job", type=click.IntRange(1, 1 << 62))
@as_json_option
def show(*, job: int, as_json: bool) -> None:
    """Show one job: why it stands as it does, what to do, and its attempts."""
    with opened(settings_or_exit()) as storage:
        story = show_job(storage, job)
    if as_json:
        print_json(schemas.JobWithHistory().dump(story))
        return
    click.echo(f"event {story.job.event_id}, {story.job.label or story.job.item_id or '-'}")
    tell_job(story)


@jobs.command()
@click.argument("job", metavar="[JOB]...", nargs=-1, type=click.IntRange(1, 1 << 62))
@_filters
@click.option("--yes", is_flag=True, help="Do it; without this, what is found is only counted.")
@as_json_option
def retry(*, job: tuple[int, ...], yes: bool, as_json: bool, **chosen: Any) -> None:
    """Let jobs run now, with all of their retries again: these, or all that the options find.

    With options, --state is dead unless you say cancelled or waiting.
    """
    wanted = _filter(chosen)
    if bool(job) != wanted.is_open:
        raise click.UsageError("Name jobs, or say with options which ones.")
    with opened(settings_or_exit()) as storage:
        if job:
            _each(storage, job, retry_job, as_json=as_json)
            return
        wanted = _filter({**chosen, "state": wanted.state or "dead"})
        if yes:
            _retry_many(storage, wanted, as_json=as_json)
            return
        count = count_jobs(storage, wanted)
    if as_json:
        print_json({"dry_run": True, "jobs": count})
    else:
        click.echo(f"{counted(count, 'job')} would be retried; --yes does it.")


def _retry_many(storage: Storage, wanted: JobFilter, *, as_json: bool) -> None:
    counts: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    cursor: str | None = None
    while True:
        done = retry_where(storage, wanted, cursor=cursor)
        counts.update(jobs=done.jobs, superseded=done.superseded)
        refused += done.refused
        cursor = done.next
        if cursor is None:
            break
    if as_json:
        print_json({"dry_run": False, **counts, "refused": refused})
        return
    waiting = counted(counts["jobs"], "job")
    click.echo(f"Retried: {waiting}; {counts['superseded']} gave way to a newer one.")
    for reason, count in refused.items():
        click.echo(f"{count} not retried: {reason}")


@jobs.command()
@click.argument("job", metavar="JOB...", nargs=-1, required=True, type=click.IntRange(1, 1 << 62))
@as_json_option
def cancel(*, job: tuple[int, ...], as_json: bool) -> None:
    """Take waiting or dead jobs away. They stay in the ledger as cancelled."""
    with opened(settings_or_exit()) as storage:
        _each(storage, job, cancel_job, as_json=as_json)


def _each(
    storage: Storage,
    identifiers: tuple[int, ...],
    verb: Callable[[Storage, int], object],
    *,
    as_json: bool,
) -> None:
    """Do it to one after the other; the first that is refused ends it."""
    done = []
    for identifier in identifiers:
        verb(storage, identifier)
        story = show_job(storage, identifier)
        done.append(schemas.JobWithHistory().dump(story))
        if not as_json:
            click.echo(f"job {identifier}: {story.job.state}")
    if as_json:
        print_json(done)
