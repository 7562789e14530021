"""Queries of operators: events, jobs and attempts, by page and one by one.

Read-only; figures about all jobs are in `stats` and `history`. Ids called `id` are the
ledger's own numbers; `event_id` is Amplience's id of an event, unique within its hub.

- `list_events(storage, EventFilter(...), limit=50, cursor=None) -> Page[EventRow]`
- `show_event(storage, id) -> EventStory` (with its body, jobs, attempts, conflicts)
- `find_event(storage, "an event_id, or an id in digits") -> id`
- `list_jobs(storage, JobFilter(...), limit=50, cursor=None) -> Page[JobRow]`
- `show_job(storage, id) -> JobStory` (with its attempts)
- `read_event(storage, id) -> StoredEvent` (hub and raw body: what a replay starts from)
- `count_events(storage, filter)`, `count_jobs(storage, filter)`

Every function raises `StorageUnavailable`; lists raise `CursorInvalid`; one that names a thing
raises `NoSuchRecord`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, func, select

from app.db import Storage
from app.db.driver import read_text
from app.db.tables import (
    attempts,
    event_conflicts,
    event_items,
    jobs,
    messages,
    webhook_events,
)
from app.errors import NoSuchRecord
from app.events import known_instant, milliseconds
from app.queue.filters import (
    EventFilter,
    JobFilter,
    event_conditions,
    has_event_id,
    job_conditions,
)
from app.queue.index_scans import events_of_jobs, jobs_of_state
from app.queue.pagination import DEFAULT_LIMIT, Page, Walk, decode_cursor, read_page
from app.queue.records import (
    AttemptRow,
    Conflict,
    EventRow,
    EventStory,
    JobRow,
    JobStory,
    StoredEvent,
    attempt_row,
    event_columns,
    event_of_a_job,
    event_row,
    job_row,
)

# Two transactions that overlap may get their ids in another order than their times.
_OVERLAP = 1_000


def list_events(
    storage: Storage,
    wanted: EventFilter | None = None,
    *,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[EventRow]:
    """List events, newest first."""
    wanted = wanted or EventFilter()
    before = decode_cursor(cursor)
    statement = select(*event_columns())
    if not wanted.by_job:
        statement = statement.where(*event_conditions(wanted))
    with storage.read() as connection:
        low, high = _bounds(connection, wanted)
        ends = [end for end in (before, high) if end is not None]
        lead = partial(events_of_jobs, connection, wanted) if wanted.by_job else None
        walk = Walk(webhook_events.c.id, min(ends, default=None), limit, wanted.indexed, low, lead)
        rows, following = read_page(connection, statement, walk)
        states = _states_of(connection, [row[webhook_events.c.id] for row in rows])
    found = tuple(event_row(row, states[row[webhook_events.c.id]]) for row in rows)
    return Page(found, following)


def list_jobs(
    storage: Storage,
    wanted: JobFilter | None = None,
    *,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[JobRow]:
    """List jobs, newest first."""
    wanted = wanted or JobFilter()
    before = decode_cursor(cursor)
    with storage.read() as connection:
        lead = partial(jobs_of_state, connection, wanted) if wanted.by_rare_state else None
        walk = Walk(jobs.c.id, before, limit, wanted.indexed, lead=lead)
        rows, following = read_page(connection, job_statement(wanted), walk)
    return Page(tuple(job_row(row) for row in rows), following)


def job_statement(wanted: JobFilter) -> Select[Any]:
    """Write the query for jobs with what is shown of their events, without order or limit."""
    return (
        select(*jobs.c, *event_of_a_job())
        .join(webhook_events, jobs.c.event == webhook_events.c.id)
        .where(*job_conditions(wanted))
    )


def show_event(storage: Storage, identifier: int) -> EventStory:
    """Read one event with its jobs (oldest first) and attempts; raises `NoSuchRecord`."""
    with storage.read() as connection:
        statement = select(*event_columns(), webhook_events.c.body)
        row = (
            connection.execute(statement.where(webhook_events.c.id == identifier))
            .mappings()
            .one_or_none()
        )
        if row is None:
            raise _no_event(identifier)
        stories = _stories(connection, job_statement(JobFilter(event=identifier)))
        conflicts = _conflicts(connection, row)
        items = _items(connection, row)
    states: dict[str, int] = defaultdict(int)
    for story in stories:
        states[story.job.state] += 1
    body = row[webhook_events.c.body]
    return EventStory(event_row(row, dict(states)), items, stories, conflicts, body)


def show_job(storage: Storage, identifier: int) -> JobStory:
    """Read one job with its attempts; raises `NoSuchRecord`."""
    statement = job_statement(JobFilter()).where(jobs.c.id == identifier)
    with storage.read() as connection:
        stories = _stories(connection, statement)
    if not stories:
        raise NoSuchRecord("job-unknown", f"There is no job {identifier}.")
    return stories[0]


def find_event(storage: Storage, written: str) -> int:
    """Find an event by Amplience's id or by its number in the ledger; raises `NoSuchRecord`.

    Where several hubs have an event of this id, the newest is found.
    """
    by_event_id = select(func.max(webhook_events.c.id)).where(has_event_id(written))
    with storage.read() as connection:
        found = connection.execute(by_event_id).scalar()
        if found is None and written.isdecimal() and int(written) < 1 << 63:
            by_number = select(webhook_events.c.id).where(webhook_events.c.id == int(written))
            found = connection.execute(by_number).scalar()
    if found is None:
        raise _no_event(written)
    return int(found)


def read_event(storage: Storage, identifier: int) -> StoredEvent:
    """Read what a replay starts from; raises `NoSuchRecord`."""
    found = read_events(storage, [identifier])
    if not found:
        raise _no_event(identifier)
    return found[0]


def read_events(storage: Storage, identifiers: Sequence[int]) -> list[StoredEvent]:
    """Read those of these events that there are, oldest first."""
    event = webhook_events.c
    statement = select(event.id, event.hub, event.received_at, event.body)
    with storage.read() as connection:
        rows = connection.execute(
            statement.where(event.id.in_(identifiers)).order_by(event.id)
        ).all()
    return [StoredEvent(row.id, row.hub, known_instant(row.received_at), row.body) for row in rows]


def count_events(storage: Storage, wanted: EventFilter) -> int:
    """Count what the filter finds; without an index it reads the whole table."""
    statement = select(func.count()).select_from(webhook_events).where(*event_conditions(wanted))
    with storage.read() as connection:
        return connection.execute(statement).scalar_one()


def count_jobs(storage: Storage, wanted: JobFilter) -> int:
    """Count what the filter finds; without an index it reads the whole table."""
    statement = select(func.count()).select_from(jobs).where(*job_conditions(wanted))
    with storage.read() as connection:
        return connection.execute(statement).scalar_one()


def _no_event(identifier: int | str) -> NoSuchRecord:
    return NoSuchRecord("event-unknown", f"There is no event {identifier}; it may be pruned.")


def _bounds(connection: Connection, wanted: EventFilter) -> tuple[int, int | None]:
    """Find between which ids the events of a span of time are, so that it is not walked to."""
    event = webhook_events.c
    low, high = 0, None
    if wanted.received_from is not None:
        first = select(event.id).where(event.received_at >= milliseconds(wanted.received_from))
        found = connection.execute(first.order_by(event.received_at).limit(1)).scalar()
        low = 0 if found is None else found - _OVERLAP
    if wanted.received_to is not None:
        last = select(event.id).where(event.received_at < milliseconds(wanted.received_to))
        found = connection.execute(last.order_by(event.received_at.desc()).limit(1)).scalar()
        high = None if found is None else found + _OVERLAP
    return low, high


def _states_of(connection: Connection, identifiers: Sequence[int]) -> dict[int, dict[str, int]]:
    states: dict[int, dict[str, int]] = defaultdict(dict)
    if identifiers:
        statement = (
            select(jobs.c.event, jobs.c.state, func.count())
            .where(jobs.c.event.in_(identifiers))
            .group_by(jobs.c.event, jobs.c.state)
        )
        for event, state, count in connection.execute(statement):
            states[event][read_text(state)] = count
    return states


def _stories(connection: Connection, statement: Select[Any]) -> tuple[JobStory, ...]:
    rows = connection.execute(statement.order_by(jobs.c.id)).mappings().all()
    identifiers = [row[jobs.c.id] for row in rows]
    tries: dict[int, list[AttemptRow]] = defaultdict(list)
    ended = select(attempts).where(attempts.c.job.in_(identifiers)).order_by(attempts.c.id)
    for row in connection.execute(ended).mappings():
        tries[row[attempts.c.job]].append(attempt_row(row))
    sizes = select(messages.c.job, func.length(messages.c.body))
    kept = dict(connection.execute(sizes.where(messages.c.job.in_(identifiers))).all())
    return tuple(
        JobStory(job_row(row), tuple(tries[row[jobs.c.id]]), kept.get(row[jobs.c.id]))
        for row in rows
    )


def _items(connection: Connection, row: RowMapping) -> tuple[str, ...]:
    first, event = row[webhook_events.c.item_id], row[webhook_events.c.id]
    statement = select(event_items.c.item_id).where(event_items.c.event == event)
    others = connection.execute(statement.order_by(event_items.c.item_id)).scalars()
    return tuple(item for item in (first, *others) if isinstance(item, str))


def _conflicts(connection: Connection, row: RowMapping) -> tuple[Conflict, ...]:
    conflict = event_conflicts.c
    statement = (
        select(conflict.fingerprint, conflict.times, conflict.first_at, conflict.last_at)
        .where(
            conflict.hub == row[webhook_events.c.hub],
            conflict.event_id == row[webhook_events.c.event_id],
        )
        .order_by(conflict.id)
    )
    return tuple(
        Conflict(
            found.fingerprint,
            found.times,
            known_instant(found.first_at),
            known_instant(found.last_at),
        )
        for found in connection.execute(statement)
    )
