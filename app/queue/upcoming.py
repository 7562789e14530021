"""Which jobs come next after one that runs: a look ahead, which takes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Integer, bindparam, select

from app.db import Storage
from app.db.tables import in_state, jobs, this_moment
from app.queue.claiming import Job

_DUE_NEXT = (
    select(jobs.c.id, jobs.c.args)
    .where(
        in_state(jobs, "waiting"),
        jobs.c.lane == bindparam("its_lane"),
        jobs.c.hub == bindparam("its_hub"),
        jobs.c.run_at <= this_moment(),
    )
    .order_by(jobs.c.run_at, jobs.c.id)
    .limit(bindparam("most", type_=Integer))
)


def due_next(storage: Storage, job: Job, *, limit: int) -> list[tuple[int, Mapping[str, Any]]]:
    """The id and arguments of jobs of the same lane and hub that are due, in the claim's order.

    Nobody promises that they run here, or at all: another worker may claim them, or a newer event
    take their place.
    """
    wanted = {"its_lane": job.lane, "its_hub": job.hub, "most": limit}
    with storage.read() as connection:
        rows = connection.execute(_DUE_NEXT, wanted).all()
    # Without those that cannot be read: they must not keep this job from being done.
    return [(row[0], row[1]) for row in rows if isinstance(row[1], dict) and "item_id" in row[1]]
