"""Which jobs come next after one that runs: a look ahead, which takes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from app.ledger.claiming import Job
from app.storage import Storage
from app.storage.tables import in_state, jobs, this_moment


def due_next(storage: Storage, job: Job, *, limit: int) -> list[tuple[int, Mapping[str, Any]]]:
    """The id and arguments of jobs of the same lane and hub that are due, in the claim's order.

    Nobody promises that they run here, or at all: another worker may claim them, or a newer event
    take their place.
    """
    statement = (
        select(jobs.c.id, jobs.c.args)
        .where(
            in_state(jobs, "waiting"),
            jobs.c.lane == job.lane,
            jobs.c.hub == job.hub,
            jobs.c.run_at <= this_moment(),
        )
        .order_by(jobs.c.run_at, jobs.c.id)
        .limit(limit)
    )
    with storage.read() as connection:
        return [(row[0], row[1]) for row in connection.execute(statement)]
