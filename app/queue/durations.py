"""How long it took from when a job was asked for until it had succeeded, for what ended lately.

For a webhook's job that is the time since the webhook was stored; for a replay, since the replay.
It reads and changes nothing, and raises `StorageUnavailable`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Float, cast, func, select

from app.db import Storage
from app.db.driver import read_text
from app.db.tables import jobs, now_ms

# From a quick call to a day of retries, in seconds.
BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0, 86_400.0)


@dataclass(frozen=True)
class Durations:
    """The jobs of one action and target that succeeded; `seconds` of all of them together.

    `within[n]` of the `jobs` took at most `BOUNDS[n]` seconds.
    """

    action: str
    target: str
    jobs: int
    seconds: float
    within: tuple[int, ...]


def done_lately(storage: Storage, *, last_ms: int) -> list[Durations]:
    """Read those that succeeded in the last `last_ms` milliseconds, by action and target."""
    # As floats: the difference of two stored numbers need not fit a column of its own.
    took = cast(jobs.c.finished_at, Float) - cast(jobs.c.created_at, Float)
    with storage.read() as connection:
        rows = connection.execute(
            select(
                jobs.c.action,
                jobs.c.target,
                func.count(),
                func.sum(took),
                *(func.count().filter(took <= round(bound * 1000)) for bound in BOUNDS),
            )
            .where(jobs.c.finished_at >= now_ms() - last_ms, jobs.c.state == "succeeded")
            .group_by(jobs.c.action, jobs.c.target)
            .order_by(jobs.c.action, jobs.c.target)
        ).all()
    return [
        Durations(read_text(action), read_text(target), count, float(total) / 1000, tuple(within))
        for action, target, count, total, *within in rows
    ]


def time_for(share: float, found: Iterable[Durations]) -> float | None:
    """The first of `BOUNDS` in which this share of all of them was done.

    None for no job at all; infinity where they took longer than the last bound.
    """
    rows = list(found)
    wanted = share * sum(row.jobs for row in rows)
    if not wanted:
        return None
    for place, bound in enumerate(BOUNDS):
        if sum(row.within[place] for row in rows) >= wanted:
            return bound
    return float("inf")
