"""How the work goes as a whole: queues, dead jobs, destinations, the last hour, sign of life.

It reads and changes nothing; single events and jobs are in `searching`.

- `overview(storage) -> Overview`: what a dashboard's first page and the metrics show
- `list_destinations(storage, names) -> list[DestinationRow]`
- `last_hour(storage) -> list[Minute]`: sixty of them, oldest first, for a chart
- `recent(storage) -> Recent`: attempts and ended jobs of the last minute

Ages are in seconds. All raise `StorageUnavailable`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Float, Row, cast, func, select

from app.db import Storage
from app.db.driver import read_text
from app.db.tables import (
    attempts,
    beats,
    destination_states,
    jobs,
    now_ms,
    quota_slots,
)
from app.events import instant, known_instant
from app.queue.history import MINUTES, read_history
from app.queue.queues import DeadGroup, Lane, dead_groups, lanes

_MINUTE = 60_000
# A worker beats every 2.5 s; its lease is over after 10 s.
_LIVE_MS = 15_000
# Attempts have no index by time: they are looked at from the newest back, so many and then more.
_REACHES = (50, 500, 5_000)
_RECENT_ATTEMPTS = 20_000
# Two transactions that overlap may get their ids in another order than their times.
_OVERLAP_MS = 5_000
_NO_QUEUE = Lane(lane="", waiting=0, running=0, oldest_age=None, due_age=None)


@dataclass(frozen=True)
class QuotaUse:
    """How many uses of a quota still count, of the slots that were ever used."""

    quota: str
    used: int


@dataclass(frozen=True)
class Overview:
    """What is happening now. `beat_age` is of the newest beat; None when no worker ever ran.

    `paused` and `open_breakers` are destinations' names. `waiting`, `running` and `dead` count
    jobs.
    """

    now: datetime
    lanes: tuple[Lane, ...]
    dead_groups: tuple[DeadGroup, ...]
    workers: int
    beat_age: float | None
    paused: tuple[str, ...]
    open_breakers: tuple[str, ...]
    quotas: tuple[QuotaUse, ...]

    @property
    def waiting(self) -> int:
        """Jobs that wait."""
        return sum(lane.waiting for lane in self.lanes)

    @property
    def running(self) -> int:
        """Jobs that run."""
        return sum(lane.running for lane in self.lanes)

    @property
    def dead(self) -> int:
        """Jobs that were given up."""
        return sum(group.jobs for group in self.dead_groups)

    @property
    def oldest_age(self) -> float | None:
        """The age of the oldest job that is not done, whatever it waits for; None without one."""
        ages = [lane.oldest_age for lane in self.lanes if lane.oldest_age is not None]
        return max(ages, default=None)


@dataclass(frozen=True)
class DestinationRow:
    """How a destination fares, and its queue.

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


@dataclass(frozen=True)
class Minute:
    """One minute: events that came in, and jobs that ended in it, by final state."""

    at: datetime
    received: int = 0
    ended: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class RecentAttempts:
    """The attempts of one action and outcome in the last minute; times in seconds."""

    action: str
    outcome: str
    count: int
    longest: float
    total: float


@dataclass(frozen=True)
class Recent:
    """The last minute: attempts, and ended jobs by (action, state)."""

    attempts: tuple[RecentAttempts, ...]
    ended: Counter[tuple[str, str]]


def overview(storage: Storage) -> Overview:
    """Read how the work goes, all at one moment."""
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
            lanes=tuple(lanes(connection, now)),
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
        queues = {lane.target: lane for lane in lanes(connection, now) if lane.action == "forward"}
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
    name: str, *, state: Row[Any] | None, queue: Lane, dead: int, configured: bool
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


def last_hour(storage: Storage) -> list[Minute]:
    """Count what came in and what ended in each of the last sixty minutes, oldest first."""
    with storage.read() as connection:
        now = connection.execute(select(now_ms())).scalar_one()
        history = read_history(connection, now)
    last = now // _MINUTE
    return [
        Minute(instant(at * _MINUTE), *history.minute(at))
        for at in range(last - MINUTES + 1, last + 1)
    ]


def recent(storage: Storage) -> Recent:
    """Count the last minute's attempts and ended jobs; of more than 20,000 attempts the newest."""
    attempt = attempts.c
    # As floats first: the difference of two stored numbers need not fit a column of its own.
    seconds = (cast(attempt.finished_at, Float) - cast(attempt.started_at, Float)) / 1000.0
    with storage.read() as connection:
        now = connection.execute(select(now_ms())).scalar_one()
        after = _before_the_minute(connection, now)
        tries = connection.execute(
            select(
                jobs.c.action,
                attempt.outcome,
                func.count(),
                func.coalesce(func.max(seconds), 0.0),
                func.coalesce(func.sum(seconds), 0.0),
            )
            .join(jobs, jobs.c.id == attempt.job)
            .where(attempt.id > after, attempt.finished_at >= now - _MINUTE)
            .group_by(jobs.c.action, attempt.outcome)
            .order_by(jobs.c.action, attempt.outcome)
        ).all()
        ended = connection.execute(
            select(jobs.c.action, jobs.c.state, func.count())
            .where(jobs.c.finished_at >= now - _MINUTE)
            .group_by(jobs.c.action, jobs.c.state)
        ).all()
    return Recent(
        tuple(
            RecentAttempts(
                read_text(row[0]), read_text(row[1]), row[2], float(row[3]), float(row[4])
            )
            for row in tries
        ),
        Counter({(read_text(row[0]), read_text(row[1])): row[2] for row in ended}),
    )


def _before_the_minute(connection: Connection, now: int) -> int:
    """Find an attempt that ended before the last minute, and no more than needed before it."""
    attempt = attempts.c
    newest = connection.execute(select(func.max(attempt.id))).scalar() or 0
    for reach in _REACHES:
        older = select(attempt.finished_at).where(attempt.id <= newest - reach)
        ended = connection.execute(older.order_by(attempt.id.desc()).limit(1)).scalar()
        if ended is None or ended < now - _MINUTE - _OVERLAP_MS:
            return newest - reach
    return newest - _RECENT_ATTEMPTS
