"""Index scans for one page of a list: ids first, from an index that has just these.

Asked for whole rows in the order of their ids, a planner may as well walk the whole table in that
order. So the ids are found by themselves, in an order that no table has (`id + 0`) where the index
is small, and the rows are read by their ids. Ids come newest first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, Select, func, select, union_all

from app.db.tables import jobs
from app.queue.filters import STATES, EventFilter, JobFilter, has_state, job_conditions

# Parts of one query: SQLite takes 500.
_TOGETHER = 100
_ACTIVE = ("waiting", "running")


def events_of_jobs(
    connection: Connection, wanted: EventFilter, before: int | None, limit: int
) -> list[int]:
    """Find events below `before` by nothing but the state or the target of their jobs.

    The index of ended jobs is read in as many places as there are states or targets, a page of
    each; active jobs are few, and looked through.
    """
    states = STATES if wanted.state is None else (wanted.state,)
    targets = _targets(connection) if wanted.target is None else [wanted.target]
    parts = [
        *(_ended(state, place, before) for state in states if _ends(state) for place in targets),
        *(_active(state, wanted.target, before) for state in states if not _ends(state)),
    ]
    found: set[int] = set()
    for some in _groups([part.limit(limit) for part in parts]):
        places = (select(part.subquery().c.event) for part in some)
        found.update(connection.execute(union_all(*places)).scalars())
    return sorted(found, reverse=True)[:limit]


def jobs_of_state(
    connection: Connection, wanted: JobFilter, before: int | None, limit: int
) -> list[int]:
    """Find jobs below `before` in a state that few jobs are in."""
    by_id = jobs.c.id + 0
    statement = select(jobs.c.id).where(*job_conditions(wanted))
    if before is not None:
        statement = statement.where(by_id < before)
    return list(connection.execute(statement.order_by(by_id.desc()).limit(limit)).scalars())


def _ends(state: str) -> bool:
    return state not in _ACTIVE


def _ended(state: str, target: str, before: int | None) -> Select[tuple[int]]:
    statement = select(jobs.c.event).where(
        jobs.c.finished_at.is_not(None), jobs.c.target == target, has_state(jobs, state)
    )
    if before is not None:
        statement = statement.where(jobs.c.event < before)
    return statement.distinct().order_by(jobs.c.event.desc())


def _active(state: str, target: str | None, before: int | None) -> Select[tuple[int]]:
    by_event = (jobs.c.event + 0).label("event")
    statement = select(by_event).where(has_state(jobs, state))
    if target is not None:
        statement = statement.where(jobs.c.target == target)
    if before is not None:
        statement = statement.where(jobs.c.event + 0 < before)
    return statement.distinct().order_by(by_event.desc())


def _targets(connection: Connection) -> Sequence[str]:
    """The targets that have ended jobs, by stepping through the index from one to the next."""
    other = jobs.alias("other")
    first = select(func.min(other.c.target).label("target")).where(other.c.finished_at.is_not(None))
    found = first.cte("targets", recursive=True)
    following = (
        select(func.min(other.c.target))
        .where(other.c.finished_at.is_not(None), other.c.target > found.c.target)
        .scalar_subquery()
    )
    found = found.union_all(select(following).where(found.c.target.is_not(None)))
    statement = select(found.c.target).where(found.c.target.is_not(None))
    return connection.execute(statement).scalars().all()


def _groups(parts: Sequence[Select[tuple[int]]]) -> Iterator[Sequence[Select[tuple[int]]]]:
    for start in range(0, len(parts), _TOGETHER):
        yield parts[start : start + _TOGETHER]
