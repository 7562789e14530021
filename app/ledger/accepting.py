"""The verb *accept*: events and the jobs they ask for, written together or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, bindparam, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError

from app.errors import WebhookRejected
from app.events import WebhookEvent
from app.ledger.arriving import JOBS_CHANNEL, Batch, Written, crowded_keys, job_row, write_arrivals
from app.ledger.precedence import NEWEST_WINS, same_say
from app.ledger.rows import among, insert_rows
from app.rules import Plan
from app.schemas import load_event
from app.storage import Storage
from app.storage.tables import event_conflicts, in_state, jobs, webhook_events

# Sent at the commit: a worker that wakes up finds the jobs.
_NOTIFY = select(func.pg_notify(JOBS_CHANNEL, ""))
# Built once: to build a statement costs more than to run it.
_KNOWN = select(
    webhook_events.c.hub,
    webhook_events.c.event_id,
    webhook_events.c.fingerprint,
    webhook_events.c.body,
).where(webhook_events.c.hub == bindparam("hub"), among(webhook_events.c.event_id, "ids"))
_BAD_VALUE = (DataError, IntegrityError, UnicodeError, OverflowError)


@dataclass(frozen=True)
class Accepted:
    """What became of one event. `jobs` counts the jobs that were written for it now."""

    status: Literal["accepted", "ignored", "duplicate", "conflict"]
    jobs: int = 0


def accept(storage: Storage, batch: Batch) -> list[Accepted | WebhookRejected]:
    """Write events with their jobs in one transaction, and say what became of each, in order.

    An event whose (hub, id) is known adds nothing: `duplicate` if name and payload are the same,
    else `conflict`, and the other body is kept aside. An event that the database cannot hold comes
    back as a `WebhookRejected` in its place and harms no other. Raises `StorageUnavailable` when
    nothing was written.
    """
    try:
        return list(_accept(storage, batch))
    except _BAD_VALUE as error:
        return _one_by_one(storage, batch, error)


def _one_by_one(
    storage: Storage, batch: Batch, error: Exception
) -> list[Accepted | WebhookRejected]:
    if len(batch) > 1:
        return [answer for entry in batch for answer in accept(storage, [entry])]
    # The value itself stays out of the answer: it is what somebody sent us.
    return [
        WebhookRejected(
            status=422,
            reason="event-not-storable",
            detail=f"the database cannot hold a value of this event ({type(error).__name__})",
        )
    ]


def _accept(storage: Storage, batch: Batch) -> list[Accepted]:
    with storage.at_once() as connection:
        written = write_arrivals(connection, batch)
        if storage.is_sqlite:
            return _answers(connection, batch, written)
    if not written.crowded and None not in written.events:
        return [_new(plans) for _, plans in batch]
    # Should this not come about, an older job goes out before the newer one, and a repeat or a
    # conflict has no answer, so that it is sent again.
    with storage.write() as connection:
        return _answers(connection, batch, written)


def _answers(connection: Connection, batch: Batch, written: Written) -> list[Accepted]:
    new = [
        plan
        for (_, plans), row_id in zip(batch, written.events, strict=True)
        if row_id is not None
        for plan in plans
    ]
    _supersede(connection, new, written.jobs, written.crowded, written.now)
    known = _known(connection, [event for event, _ in _missing(batch, written.events)])
    return [
        _new(plans)
        if row_id is not None
        else _seen_before(connection, event, known.get((event.hub, event.id)), written.now)
        for (event, plans), row_id in zip(batch, written.events, strict=True)
    ]


def _missing(batch: Batch, written: Sequence[int | None]) -> Iterator[tuple[WebhookEvent, Any]]:
    return (entry for entry, row_id in zip(batch, written, strict=True) if row_id is None)


def _new(plans: Sequence[Plan]) -> Accepted:
    return Accepted("accepted", len(plans)) if plans else Accepted("ignored")


def _known(
    connection: Connection, events: Sequence[WebhookEvent]
) -> dict[tuple[str, str], Row[Any]]:
    """Find what is written of events that are known."""
    known: dict[tuple[str, str], Row[Any]] = {}
    for hub in {event.hub for event in events}:  # the index begins with the hub
        ids = [event.id for event in events if event.hub == hub]
        rows = connection.execute(_KNOWN, {"hub": hub, "ids": ids})
        known |= {(row.hub, row.event_id): row for row in rows}
    return known


def add_jobs(
    connection: Connection, plans: Sequence[Plan], *, hub: str, event_row: int, now: int
) -> list[int]:
    """Write jobs for an event that is there already; returns their ids, in order."""
    if not plans:
        return []
    rows = [job_row(plan, hub=hub, event_row=event_row, now=now) for plan in plans]
    written = insert_rows(connection, jobs, rows)
    identifiers = [identifier for identifier in written if identifier is not None]
    _supersede(connection, plans, identifiers, crowded_keys(connection, plans), now)
    if connection.dialect.name != "sqlite":
        connection.execute(_NOTIFY)
    return identifiers


def _supersede(
    connection: Connection,
    plans: Sequence[Plan],
    identifiers: Sequence[int],
    crowded: Set[str],
    now: int,
) -> None:
    """Let each new job take the place of older waiting ones that it makes pointless."""
    for plan, identifier in zip(plans, identifiers, strict=True):
        if plan.action in NEWEST_WINS and plan.key in crowded:
            _take_place(connection, plan, identifier, now)


def _take_place(connection: Connection, plan: Plan, identifier: int, now: int) -> None:
    older = connection.execute(
        update(jobs)
        .where(
            jobs.c.key == plan.key,
            same_say(plan.rule, plan.args),
            in_state(jobs, "waiting"),
            jobs.c.id < identifier,
            jobs.c.version <= (plan.version or now),
        )
        .values(
            state="superseded",
            reason="newer-event",
            superseded_by=identifier,
            finished_at=now,
        )
        .returning(jobs.c.run_at, jobs.c.attempts)
    ).all()
    # The newer one takes the place in the line of what it replaces: events that keep coming must
    # not put the first send off for ever. A failed try's later time is not inherited.
    times = [row.run_at for row in older if row.attempts == 0]
    if times and min(times) < now + round(plan.delay * 1000):
        connection.execute(update(jobs).where(jobs.c.id == identifier).values(run_at=min(times)))


def _seen_before(
    connection: Connection, event: WebhookEvent, known: Row[Any] | None, now: int
) -> Accepted:
    # None: it was pruned a moment ago, so it was known.
    if known is None or _is_same(event, known):
        return Accepted("duplicate")
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    connection.execute(
        dialect.insert(event_conflicts)
        .values(
            hub=event.hub,
            event_id=event.id,
            fingerprint=event.fingerprint,
            body=event.body,
            times=1,
            first_at=now,
            last_at=now,
        )
        .on_conflict_do_update(
            index_elements=["hub", "event_id", "fingerprint"],
            set_={"times": event_conflicts.c.times + 1, "last_at": now},
        )
    )
    return Accepted("conflict")


def _is_same(event: WebhookEvent, known: Row[Any]) -> bool:
    if known.fingerprint in (event.digest, event.fingerprint):
        return True
    try:
        return load_event(known.body, hub=known.hub).fingerprint == event.fingerprint
    except WebhookRejected:
        return False  # what we made ourselves is no webhook
