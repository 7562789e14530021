"""Retention: delete finished events after their time, in small batches.

Dead and waiting jobs are never removed, nor is their event: they wait for a person or for their
time. Each batch is a transaction of its own, so that webhooks never wait long.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, delete, exists, literal, select

from app.db import Storage
from app.db.tables import (
    attempts,
    event_conflicts,
    event_items,
    jobs,
    messages,
    this_moment,
    webhook_events,
)

_ENDED = ("succeeded", "skipped", "superseded", "cancelled")
BATCH = 200


def prune(storage: Storage, *, older_than_ms: int, batch: int = BATCH) -> int:
    """Remove one batch of events that came in so long ago and are finished; returns how many.

    Call it until it returns 0. With an event go its jobs, their attempts and messages. An id that
    has been pruned is no longer known: a repeat of it would be taken as new.
    """
    with storage.write() as connection:
        before = this_moment() - literal(older_than_ms)
        identifiers = list(
            connection.execute(
                select(webhook_events.c.id)
                .where(webhook_events.c.received_at < before, _finished())
                .order_by(webhook_events.c.received_at)
                .limit(batch)
            ).scalars()
        )
        if identifiers:
            _remove(connection, identifiers)
        connection.execute(delete(event_conflicts).where(event_conflicts.c.last_at < before))
        return len(identifiers)


def _finished() -> ColumnElement[bool]:
    return ~exists().where(jobs.c.event == webhook_events.c.id, jobs.c.state.not_in(_ENDED))


def _remove(connection: Connection, identifiers: list[int]) -> None:
    theirs = select(jobs.c.id).where(jobs.c.event.in_(identifiers))
    connection.execute(delete(attempts).where(attempts.c.job.in_(theirs)))
    connection.execute(delete(messages).where(messages.c.job.in_(theirs)))
    connection.execute(delete(jobs).where(jobs.c.event.in_(identifiers)))
    connection.execute(delete(event_items).where(event_items.c.event.in_(identifiers)))
    connection.execute(delete(webhook_events).where(webhook_events.c.id.in_(identifiers)))
