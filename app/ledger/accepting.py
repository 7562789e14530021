"""The verb *accept*: events and the jobs they ask for, written together or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError

from app.errors import StorageUnavailable, WebhookRejected
from app.events import WebhookEvent, milliseconds
from app.rules import Plan
from app.storage import Storage
from app.storage.tables import event_conflicts, jobs, now_ms, webhook_events

JOBS_CHANNEL = "dc_relay_jobs"

# Of several waiting jobs of these actions for one key, only the newest has anything left to say.
NEWEST_WINS = frozenset({"forward"})

_BAD_VALUE = (DataError, IntegrityError, UnicodeError, OverflowError)


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
    except _BAD_VALUE as error:
        if len(batch) == 1:
            return [_unstorable(error)]
    return [answer for entry in batch for answer in accept(storage, [entry])]


def _unstorable(error: Exception) -> WebhookRejected:
    # The value itself stays out of the answer: it is what somebody sent us.
    return WebhookRejected(
        status=422,
        reason="event-not-storable",
        detail=f"the database cannot hold a value of this event ({type(error).__name__})",
    )


def _accept(storage: Storage, batch: Batch) -> list[Accepted]:
    with storage.write() as connection:
        now = connection.execute(select(now_ms())).scalar_one()
        answers = [_accept_event(connection, event, plans, now) for event, plans in batch]
        if any(answer.jobs for answer in answers) and not storage.is_sqlite:
            # Sent at the commit: a worker that wakes up finds the jobs.
            connection.execute(select(func.pg_notify(JOBS_CHANNEL, "")))
        return answers


def _accept_event(
    connection: Connection,
    event: WebhookEvent,
    plans: Sequence[Plan],
    now: int,
) -> Accepted:
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = (
        dialect.insert(webhook_events)
        .values(_event_row(event, now))
        .on_conflict_do_nothing(index_elements=["hub", "event_id"])
        .returning(webhook_events.c.id)
    )
    row_id = connection.execute(statement).scalar()
    if row_id is None:
        return _seen_before(connection, event, now)
    if not plans:
        return Accepted("ignored")
    rows = [_job_row(plan, event, row_id, now) for plan in plans]
    identifiers = list(
        connection.execute(insert(jobs).returning(jobs.c.id, sort_by_parameter_order=True), rows)
        .scalars()
        .all()
    )
    _supersede(connection, plans, identifiers, now)
    return Accepted("accepted", len(rows))


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
    }


def _job_row(plan: Plan, event: WebhookEvent, row_id: int, now: int) -> dict[str, Any]:
    return {
        "event": row_id,
        "hub": event.hub,
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
    for plan, identifier in zip(plans, identifiers, strict=True):
        if plan.action not in NEWEST_WINS:
            continue
        older = connection.execute(
            update(jobs)
            .where(
                jobs.c.key == plan.key,
                jobs.c.rule == plan.rule,
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
        # The newer one takes the place in the line of what it replaces: events that keep coming
        # must not put the first send off for ever. A failed try's later time is not inherited.
        times = [row.run_at for row in older if row.attempts == 0]
        if times and min(times) < now + _delay(plan):
            connection.execute(
                update(jobs).where(jobs.c.id == identifier).values(run_at=min(times))
            )


def _delay(plan: Plan) -> int:
    return round(plan.delay * 1000)


def _seen_before(connection: Connection, event: WebhookEvent, now: int) -> Accepted:
    known = connection.execute(
        select(webhook_events.c.fingerprint).where(
            webhook_events.c.hub == event.hub, webhook_events.c.event_id == event.id
        )
    ).scalar()
    if known is None:  # it was pruned between the two statements
        raise StorageUnavailable("the event was being removed; send it again")
    if known == event.fingerprint:
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
