"""The verb *accept*: events and the jobs they ask for, written together or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Table, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError

from app.errors import WebhookRejected
from app.events import WebhookEvent, milliseconds
from app.ledger.precedence import same_say
from app.rules import Plan
from app.storage import Storage
from app.storage.tables import event_conflicts, jobs, now_ms, webhook_events

JOBS_CHANNEL = "dc_relay_jobs"

# Of several waiting jobs of these actions for one key, only the newest has anything left to say.
NEWEST_WINS = frozenset({"forward"})

_BAD_VALUE = (DataError, UnicodeError, OverflowError)


@dataclass(frozen=True)
class Accepted:
    """What became of one event. `jobs` counts the jobs that were written for it now."""

    status: Literal["accepted", "ignored", "duplicate", "conflict"]
    jobs: int = 0


Batch = Sequence[tuple[WebhookEvent, Sequence[Plan]]]


def accept(storage: Storage, batch: Batch) -> list[Accepted | WebhookRejected]:
    """Write events with their jobs in one transaction, and say what became of each, in order.

    An event whose (hub, id) is known adds nothing: `duplicate` if name and payload are the same,
    else `conflict`, and the other body is kept aside. An event that the database cannot hold comes
    back as a `WebhookRejected` in its place and harms no other. Raises `StorageUnavailable` when
    nothing was written.
    """
    try:
        return list(_accept(storage, batch))
    except IntegrityError as error:
        # Another process wrote one of these ids at the same moment: now it can be seen.
        if not _is_repeat(error):
            return _one_by_one(storage, batch, error)
    except _BAD_VALUE as error:
        return _one_by_one(storage, batch, error)
    return accept(storage, batch)


def _is_repeat(error: IntegrityError) -> bool:
    text = str(error.orig)
    return "webhook_events_once" in text or "webhook_events.event_id" in text


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
    with storage.write() as connection:
        now = connection.execute(select(now_ms())).scalar_one()
        known = _known(connection, [event for event, _ in batch])
        new: list[tuple[WebhookEvent, Sequence[Plan]]] = []
        answers: list[Accepted] = []
        for event, plans in batch:
            fingerprint = known.setdefault((event.hub, event.id), "")
            if fingerprint:
                answers.append(_seen_before(connection, event, fingerprint, now))
                continue
            known[event.hub, event.id] = event.fingerprint
            new.append((event, plans))
            answers.append(Accepted("accepted", len(plans)) if plans else Accepted("ignored"))
        _write(connection, new, now)
        if any(plans for _, plans in new) and not storage.is_sqlite:
            # Sent at the commit: a worker that wakes up finds the jobs.
            connection.execute(select(func.pg_notify(JOBS_CHANNEL, "")))
        return answers


def _known(connection: Connection, events: Sequence[WebhookEvent]) -> dict[tuple[str, str], str]:
    """Find the fingerprints of those events that are written already."""
    columns = webhook_events.c
    known: dict[tuple[str, str], str] = {}
    for hub in {event.hub for event in events}:  # the index begins with the hub
        rows = connection.execute(
            select(columns.event_id, columns.fingerprint).where(
                columns.hub == hub,
                columns.event_id.in_([event.id for event in events if event.hub == hub]),
            )
        )
        known |= {(hub, row.event_id): row.fingerprint for row in rows}
    return known


def _write(
    connection: Connection, new: Sequence[tuple[WebhookEvent, Sequence[Plan]]], now: int
) -> None:
    """Write many events and their jobs in a few statements: a statement costs more than a row."""
    if not new:
        return
    events = _insert(connection, webhook_events, [_event_row(event, now) for event, _ in new])
    wanted = [
        (plan, _job_row(plan, event.hub, row_id, now))
        for (event, plans), row_id in zip(new, events, strict=True)
        for plan in plans
    ]
    _insert_jobs(connection, wanted, now)


def add_jobs(
    connection: Connection, plans: Sequence[Plan], *, hub: str, event_row: int, now: int
) -> list[int]:
    """Write jobs for an event that is there already; returns their ids, in order."""
    return _insert_jobs(
        connection, [(plan, _job_row(plan, hub, event_row, now)) for plan in plans], now
    )


def _insert_jobs(
    connection: Connection, wanted: Sequence[tuple[Plan, dict[str, Any]]], now: int
) -> list[int]:
    if not wanted:
        return []
    identifiers = _insert(connection, jobs, [row for _, row in wanted])
    _supersede(connection, [plan for plan, _ in wanted], identifiers, now)
    return identifiers


def _insert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> list[int]:
    """Insert rows; returns their ids, in the order of the rows."""
    statement = insert(table).returning(table.c.id, sort_by_parameter_order=True)
    return list(connection.execute(statement, rows).scalars())


def _event_row(event: WebhookEvent, now: int) -> dict[str, Any]:
    created = event.snapshot_created
    return {
        "hub": event.hub,
        "event_id": event.id,
        "name": event.name,
        "fingerprint": event.fingerprint,
        "item_id": event.item_id,
        "snapshot_id": event.snapshot_id,
        "snapshot_created": milliseconds(created) if created else None,
        "schema": event.schema,
        "label": event.label,
        "locale": event.locale,
        "request_id": event.request_id,
        "body": event.body,
        "received_at": now,
        "origin": event.origin,
        "trace": event.trace,
    }


def _job_row(plan: Plan, hub: str, event_row: int, now: int) -> dict[str, Any]:
    return {
        "event": event_row,
        "hub": hub,
        "rule": plan.rule,
        "action": plan.action,
        "target": plan.target,
        "lane": plan.lane,
        "key": plan.key,
        # An event that does not say when the content changed counts as of now.
        "version": plan.version or now,
        "args": dict(plan.args),
        "state": "waiting",
        "run_at": now + _delay(plan),
        "created_at": now,
    }


def _supersede(
    connection: Connection, plans: Sequence[Plan], identifiers: Sequence[int], now: int
) -> None:
    """Let each new job take the place of older waiting ones that it makes pointless."""
    newer = [
        (plan, identifier)
        for plan, identifier in zip(plans, identifiers, strict=True)
        if plan.action in NEWEST_WINS
    ]
    crowded = set(
        connection.execute(
            select(jobs.c.key)
            .where(jobs.c.key.in_({plan.key for plan, _ in newer}), jobs.c.state == "waiting")
            .group_by(jobs.c.key)
            .having(func.count() > 1)
        ).scalars()
    )
    for plan, identifier in newer:
        if plan.key in crowded:
            _take_place(connection, plan, identifier, now)


def _take_place(connection: Connection, plan: Plan, identifier: int, now: int) -> None:
    older = connection.execute(
        update(jobs)
        .where(
            jobs.c.key == plan.key,
            same_say(plan.rule, plan.args),
            jobs.c.state == "waiting",
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
    if times and min(times) < now + _delay(plan):
        connection.execute(update(jobs).where(jobs.c.id == identifier).values(run_at=min(times)))


def _delay(plan: Plan) -> int:
    return round(plan.delay * 1000)


def _seen_before(
    connection: Connection, event: WebhookEvent, fingerprint: str, now: int
) -> Accepted:
    if fingerprint == event.fingerprint:
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
