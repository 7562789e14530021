"""Questions to the ledger that change nothing."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from app.db import Storage
from app.db.tables import attempts, beats, jobs, now_ms, webhook_events
from app.queue.queues import first_due


@dataclass(frozen=True)
class Readiness:
    """How the work goes; None where there is nothing to tell.

    `worker_beat_age`: seconds since the last beat of any worker. `oldest_due_seconds`: how long the
    first waiting job has been due.
    """

    worker_beat_age: float | None
    oldest_due_seconds: float | None


@dataclass(frozen=True)
class Counts:
    """How many events and attempts there are, and jobs by state."""

    events: int
    attempts: int
    jobs: dict[str, int]


def readiness(storage: Storage) -> Readiness:
    """Look at the beats and at the oldest job that is due; raises `StorageUnavailable`."""
    with storage.read() as connection:
        now, beat_at = connection.execute(
            select(now_ms(), select(func.max(beats.c.beat_at)).scalar_subquery())
        ).one()
        due = min(first_due(connection).values(), default=None)
    return Readiness(
        worker_beat_age=None if beat_at is None else max(0.0, (now - beat_at) / 1000),
        oldest_due_seconds=None if due is None or due > now else (now - due) / 1000,
    )


def counts(storage: Storage) -> Counts:
    """Count everything. It reads whole tables: for a summary at a person's request."""
    with storage.read() as connection:
        events = connection.execute(select(func.count()).select_from(webhook_events)).scalar_one()
        tries = connection.execute(select(func.count()).select_from(attempts)).scalar_one()
        states = connection.execute(select(jobs.c.state, func.count()).group_by(jobs.c.state)).all()
    return Counts(events=events, attempts=tries, jobs={row[0]: row[1] for row in states})
