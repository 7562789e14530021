"""The queues as they stand: what waits and runs in each lane, and what is dead and why.

Every query here reads an index that holds only such jobs, however many have ended before. This
module must not know who looks.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from app.db.driver import read_text
from app.db.tables import in_state, jobs
from app.events import known_instant


@dataclass(frozen=True)
class Lane:
    """The jobs that are not done of one action and target.

    `oldest_age` (seconds) is the age of the oldest one since it was asked for: nothing is left
    out, not what waits for a retry, a breaker or a quota. `due_age` is how long the first one
    could have run already; None when none is due.
    """

    lane: str
    waiting: int
    running: int
    oldest_age: float | None
    due_age: float | None

    @property
    def action(self) -> str:
        """The action of its jobs."""
        return self.lane.partition(":")[0]

    @property
    def target(self) -> str:
        """The destination's name, or the hub's key."""
        return self.lane.partition(":")[2]


@dataclass(frozen=True)
class DeadGroup:
    """Dead jobs of one reason, action and target; `newest` is the id of the last one of them."""

    reason: str | None
    action: str
    target: str
    jobs: int
    newest: int
    oldest_at: datetime | None


def lanes(connection: Connection, now: int) -> list[Lane]:
    """Count what waits and runs in each lane, by lane; `now` in milliseconds since 1970."""
    waiting = connection.execute(
        select(jobs.c.lane, func.count(), func.min(jobs.c.id), func.min(jobs.c.run_at))
        .where(in_state(jobs, "waiting"))
        .group_by(jobs.c.lane)
    ).all()
    running = connection.execute(
        select(jobs.c.lane, func.count(), func.min(jobs.c.id))
        .where(in_state(jobs, "running"))
        .group_by(jobs.c.lane)
    ).all()
    queued = {read_text(row[0]): row for row in waiting}
    at_work = {read_text(row[0]): row for row in running}
    oldest = {
        lane: min(row[2] for row in (queued.get(lane), at_work.get(lane)) if row)
        for lane in {*queued, *at_work}
    }
    created = _created(connection, oldest.values())
    return [
        Lane(
            lane=lane,
            waiting=queued[lane][1] if lane in queued else 0,
            running=at_work[lane][1] if lane in at_work else 0,
            oldest_age=_age(created.get(oldest[lane]), now),
            due_age=_due(queued[lane][3], now) if lane in queued else None,
        )
        for lane in sorted(oldest)
    ]


def first_due(connection: Connection) -> dict[str, int]:
    """Find when the first waiting job of each lane is due (ms), however many wait.

    The lanes are found by stepping through the index, from each lane to the next.
    """
    other = jobs.alias("other")
    names = select(func.min(other.c.lane).label("lane")).where(in_state(other, "waiting"))
    found = names.cte("lanes", recursive=True)
    following = (
        select(func.min(other.c.lane))
        .where(in_state(other, "waiting"), other.c.lane > found.c.lane)
        .scalar_subquery()
    )
    found = found.union_all(select(following).where(found.c.lane.is_not(None)))
    first = (
        select(func.min(jobs.c.run_at))
        .where(in_state(jobs, "waiting"), jobs.c.lane == found.c.lane)
        .scalar_subquery()
    )
    rows = connection.execute(select(found.c.lane, first).where(found.c.lane.is_not(None)))
    # None: the last job of a lane was taken between two steps. What is of another kind, which
    # SQLite keeps where it is given it, is never due.
    return {lane: due for lane, due in rows if isinstance(lane, str) and isinstance(due, int)}


def dead_groups(connection: Connection) -> list[DeadGroup]:
    """Count dead jobs by reason, action and target; the most first."""
    count = func.count().label("count")
    groups = connection.execute(
        select(
            jobs.c.reason,
            jobs.c.action,
            jobs.c.target,
            count,
            func.max(jobs.c.id),
            func.min(jobs.c.id),
        )
        .where(in_state(jobs, "dead"))
        .group_by(jobs.c.action, jobs.c.target, jobs.c.reason)
        .order_by(count.desc(), jobs.c.action, jobs.c.target)
    ).all()
    created = _created(connection, [row[5] for row in groups])
    return [
        DeadGroup(
            reason=None if row[0] is None else read_text(row[0]),
            action=read_text(row[1]),
            target=read_text(row[2]),
            jobs=row[3],
            newest=row[4],
            oldest_at=known_instant(created[row[5]]),
        )
        for row in groups
        if row[5] in created
    ]


def _created(connection: Connection, identifiers: Collection[int]) -> dict[int, int]:
    """When these jobs were asked for: ids are given in that order, and indexes have no times."""
    if not identifiers:
        return {}
    statement = select(jobs.c.id, jobs.c.created_at).where(jobs.c.id.in_(identifiers))
    return dict(connection.execute(statement).all())


def _age(created_at: object, now: int) -> float | None:
    # None: it came to an end between the two queries.
    return max(0.0, (now - created_at) / 1000) if isinstance(created_at, (int, float)) else None


def _due(run_at: object, now: int) -> float | None:
    late = isinstance(run_at, (int, float)) and run_at <= now
    return (now - run_at) / 1000 if late else None  # type: ignore[operator]
