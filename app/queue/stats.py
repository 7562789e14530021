"""Statistics: queues, dead jobs, destinations, workers' heartbeats, counts. Read-only.

Queries of queues and dead jobs read indexes that hold only such jobs, however many have ended.
Ages are in seconds. All functions raise `StorageUnavailable`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select

from app.db import Storage
from app.db.driver import read_text
from app.db.tables import (
    attempts,
    beats,
    destination_states,
    in_state,
    jobs,
    now_ms,
    quota_slots,
    webhook_events,
)
from app.events import instant, known_instant

# Heartbeats come every 2.5 s; a lease expires after 10 s.
_LIVE_MS = 15_000


@dataclass(frozen=True)
class Queue:
    """The unfinished jobs of one action and target.

    `oldest_age` (seconds) is the age of the oldest one since it was asked for: nothing is left
    out, not what waits for a retry, a breaker or a quota. `due_age` is how long the first one
    could have run already; None when none is due.
    """

    name: str
    waiting: int
    running: int
    oldest_age: float | None
    due_age: float | None

    @property
    def action(self) -> str:
        """The action of its jobs."""
        return self.name.partition(":")[0]

    @property
    def target(self) -> str:
        """The destination's name, or the hub's key."""
        return self.name.partition(":")[2]


@dataclass(frozen=True)
class DeadGroup:
    """Dead jobs of one reason, action and target; `newest` is the id of the last one of them."""

    reason: str | None
    action: str
    target: str
    jobs: int
    newest: int
    oldest_at: datetime | None


def read_queues(connection: Connection, now: int) -> list[Queue]:
    """Count what waits and runs in each queue, by queue; `now` in milliseconds since 1970."""
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
        queue: min(row[2] for row in (queued.get(queue), at_work.get(queue)) if row)
        for queue in {*queued, *at_work}
    }
    created = _created(connection, oldest.values())
    return [
        Queue(
            name=queue,
            waiting=queued[queue][1] if queue in queued else 0,
            running=at_work[queue][1] if queue in at_work else 0,
            oldest_age=_age(created.get(oldest[queue]), now),
            due_age=_due(queued[queue][3], now) if queue in queued else None,
        )
        for queue in sorted(oldest)
    ]


def first_due(connection: Connection) -> dict[str, int]:
    """Find when the first waiting job of each queue is due (ms), however many wait.

    The queues are found by stepping through the index, from each queue to the next.
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
    # None: the last job of a queue was taken between two steps. What is of another kind, which
    # SQLite keeps where it is given it, is never due.
    return {queue: due for queue, due in rows if isinstance(queue, str) and isinstance(due, int)}


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


_NO_QUEUE = Queue(name="", waiting=0, running=0, oldest_age=None, due_age=None)


@dataclass(frozen=True)
class QuotaUse:
    """How many uses of a quota still count, of the slots that were ever used."""

    quota: str
    used: int


@dataclass(frozen=True)
class Overview:
    """What is happening now. `beat_age` is of the newest heartbeat; None when no worker ever ran.

    `paused` and `open_breakers` are destinations' names. `waiting`, `running` and `dead` count
    jobs.
    """

    now: datetime
    queues: tuple[Queue, ...]
    dead_groups: tuple[DeadGroup, ...]
    workers: int
    beat_age: float | None
    paused: tuple[str, ...]
    open_breakers: tuple[str, ...]
    quotas: tuple[QuotaUse, ...]

    @property
    def waiting(self) -> int:
        """Jobs that wait."""
        return sum(queue.waiting for queue in self.queues)

    @property
    def running(self) -> int:
        """Jobs that run."""
        return sum(queue.running for queue in self.queues)

    @property
    def dead(self) -> int:
        """Jobs that failed for good."""
        return sum(group.jobs for group in self.dead_groups)

    @property
    def oldest_age(self) -> float | None:
        """The age of the oldest job that is not done, whatever it waits for; None without one."""
        ages = [queue.oldest_age for queue in self.queues if queue.oldest_age is not None]
        return max(ages, default=None)


@dataclass(frozen=True)
class DestinationRow:
    """State of a destination, and its queue.

    `breaker` is `closed` (all is well), `open` (nothing is sent until `probe_at`) or `half-open`
    (one probe). `oldest_age` is that of the oldest job that is not done. `configured` is false for
    one that the ledger remembers and the settings do not know.
    """

    name: str
    configured: bool
    paused_at: datetime | None
    paused_reason: str | None
    breaker: str
    failures: int
    opened_at: datetime | None
    probe_at: datetime | None
    waiting: int
    running: int
    dead: int
    oldest_age: float | None


def overview(storage: Storage) -> Overview:
    """Read the current state of queues, workers, destinations and quotas, all at one moment."""
    with storage.read() as connection:
        now = connection.execute(select(now_ms())).scalar_one()
        last, live = connection.execute(
            select(
                func.max(beats.c.beat_at),
                func.count().filter(beats.c.beat_at > now - _LIVE_MS),
            )
        ).one()
        state = destination_states.c
        states = connection.execute(
            select(state.name, state.paused_at, state.breaker).order_by(state.name)
        ).all()
        return Overview(
            now=instant(now),
            queues=tuple(read_queues(connection, now)),
            dead_groups=tuple(dead_groups(connection)),
            workers=live,
            beat_age=None if last is None else max(0.0, (now - last) / 1000),
            paused=tuple(row.name for row in states if row.paused_at is not None),
            open_breakers=tuple(row.name for row in states if row.breaker != "closed"),
            quotas=_quotas(connection, now),
        )


def _quotas(connection: Connection, now: int) -> tuple[QuotaUse, ...]:
    slot = quota_slots.c
    used = func.count().filter(slot.free_at > now)
    statement = select(slot.quota, used).group_by(slot.quota).order_by(slot.quota)
    return tuple(QuotaUse(quota, count) for quota, count in connection.execute(statement))


def list_destinations(storage: Storage, names: Sequence[str]) -> list[DestinationRow]:
    """List the destinations of these names (the settings') and others that have a queue or state.

    In the order of `names`, then by name.
    """
    with storage.read() as connection:
        now = connection.execute(select(now_ms())).scalar_one()
        queues = {
            queue.target: queue
            for queue in read_queues(connection, now)
            if queue.action == "forward"
        }
        dead: Counter[str] = Counter()
        for group in dead_groups(connection):
            if group.action == "forward":
                dead[group.target] += group.jobs
        states = {row.name: row for row in connection.execute(select(destination_states))}
    others = sorted({*queues, *dead, *states} - set(names))
    return [
        _destination(
            name,
            state=states.get(name),
            queue=queues.get(name, _NO_QUEUE),
            dead=dead[name],
            configured=name in names,
        )
        for name in (*names, *others)
    ]


def _destination(
    name: str, *, state: Row[Any] | None, queue: Queue, dead: int, configured: bool
) -> DestinationRow:
    return DestinationRow(
        name=name,
        configured=configured,
        paused_at=known_instant(state.paused_at) if state else None,
        paused_reason=state.paused_reason if state else None,
        breaker=state.breaker if state else "closed",
        failures=state.failures if state else 0,
        opened_at=known_instant(state.opened_at) if state else None,
        probe_at=known_instant(state.probe_at) if state else None,
        waiting=queue.waiting,
        running=queue.running,
        dead=dead,
        oldest_age=queue.oldest_age,
    )


@dataclass(frozen=True)
class Readiness:
    """Age of the newest heartbeat and lateness of the oldest due job; None without one.

    `worker_beat_age`: seconds since the last heartbeat of any worker. `oldest_due_seconds`: how
    long the first waiting job has been due.
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
    """Read the newest heartbeat and the oldest due job."""
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
