"""Ingest: store events and the jobs they ask for, together or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError

from app.db import Storage
from app.db.json_rows import among, insert_rows
from app.db.tables import event_conflicts, jobs, webhook_events
from app.errors import WebhookRejected, WriteConflict
from app.events import WebhookEvent
from app.queue.coalescing import supersede_older
from app.queue.insert_events import (
    JOBS_CHANNEL,
    Batch,
    Written,
    contended_keys,
    insert_batch,
    job_row,
)
from app.rules import Plan
from app.schemas import load_event

# Sent at the commit: a worker that wakes up finds the jobs.
_NOTIFY = select(func.pg_notify(JOBS_CHANNEL, ""))
# Built once: to build a statement costs more than to run it.
_KNOWN = select(
    webhook_events.c.hub,
    webhook_events.c.event_id,
    webhook_events.c.fingerprint,
    webhook_events.c.body,
).where(webhook_events.c.hub == bindparam("hub"), among(webhook_events.c.event_id, "ids"))
# A deadlock is found after a second (PostgreSQL's `deadlock_timeout`), so more would be too late.
_TRIES = 2
_BAD_VALUE = (DataError, IntegrityError, UnicodeError, OverflowError)


@dataclass(frozen=True)
class Accepted:
    """Result of one event. `jobs` counts the jobs that were written for it now."""

    status: Literal["accepted", "ignored", "duplicate", "conflict"]
    jobs: int = 0


def accept(storage: Storage, batch: Batch) -> list[Accepted | WebhookRejected]:
    """Store events with their jobs in one transaction; returns the result of each, in order.

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
    for tries_left in reversed(range(_TRIES)):
        try:
            with storage.write() as connection:
                written = insert_batch(connection, batch)
                if written.contended:
                    supersede_older(connection, written.jobs)
                return _answers(connection, batch, written)
        except WriteConflict:
            # Nothing was written, and the sender has done nothing wrong.
            if not tries_left:
                raise
    raise AssertionError("the last try returns or raises")


def _answers(connection: Connection, batch: Batch, written: Written) -> list[Accepted]:
    unknown = [event for (event, _), row in zip(batch, written.events, strict=True) if row is None]
    seen = _seen_before(connection, unknown, written.now)
    return [
        _new(plans) if row is not None else seen[id(event)]
        for (event, plans), row in zip(batch, written.events, strict=True)
    ]


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
    if contended_keys(connection, plans):
        supersede_older(connection, identifiers)
    if connection.dialect.name != "sqlite":
        connection.execute(_NOTIFY)
    return identifiers


def _seen_before(
    connection: Connection, events: Sequence[WebhookEvent], now: int
) -> dict[int, Accepted]:
    """Answer for events that are known, by their identity; another payload is kept aside."""
    known = _known(connection, events)
    answers = {}
    # In one order for all processes: two that wrote the same ones in two orders would deadlock.
    for event in sorted(events, key=lambda event: (event.hub, event.id)):
        stored = known.get((event.hub, event.id))
        # None: it was pruned a moment ago, so it was known.
        if stored is None or _is_same(event, stored):
            answers[id(event)] = Accepted("duplicate")
        else:
            _keep_aside(connection, event, now)
            answers[id(event)] = Accepted("conflict")
    return answers


def _keep_aside(connection: Connection, event: WebhookEvent, now: int) -> None:
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


def _is_same(event: WebhookEvent, known: Row[Any]) -> bool:
    if known.fingerprint in (event.digest, event.fingerprint):
        return True
    try:
        return load_event(known.body, hub=known.hub).fingerprint == event.fingerprint
    except WebhookRejected:
        return False  # what we made ourselves is no webhook
