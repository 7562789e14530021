"""What came in, what ended and how long it took: the last minute, hour and day.

A page that asks every few seconds must not count a day's events each time. So a minute that is
over is counted once, by a worker, and kept: the last sixty, and the hours that they add up to, in
one small row. What is not in there yet is counted on request. A job that is retried later stays
in the minute in which it ended first. All functions raise `StorageUnavailable`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Float, cast, func, select

from app.db import Storage
from app.db.driver import read_text
from app.db.tables import attempts, jobs, marks, now_ms, this_moment, webhook_events
from app.events import instant
from app.queue.checkpoints import read_checkpoint, write_checkpoint

MINUTE = 60_000
_HOUR = 3_600_000
MINUTES = 60
HOURS = 24
_RECEIVED = "received"
_NAME = "history"
# What a slow transaction writes late must still be counted: a minute is over this much later.
_SETTLED_MS = 15_000
# So many minutes are counted by one query, so that a first time on a busy ledger comes to an end.
_AT_ONCE = 30
# Attempts have no index by time: they are looked at from the newest back, so many and then more.
_REACHES = (50, 500, 5_000)
_RECENT_ATTEMPTS = 20_000
# Two transactions that overlap may get their ids in another order than their times.
_OVERLAP_MS = 5_000
# From a quick call to a day of retries, in seconds.
BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0, 86_400.0)


@dataclass
class History:
    """Counts by minute and by hour since 1970: of what came in, and of jobs that ended by state.

    Everything before the minute `until` is counted.
    """

    until: int = 0
    minutes: dict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    hours: dict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def minute(self, at: int) -> tuple[int, Counter[str]]:
        """What came in and what ended in one minute."""
        return _split(self.minutes.get(at))

    def hour(self, at: int) -> tuple[int, Counter[str]]:
        """What came in and what ended in one hour."""
        return _split(self.hours.get(at))

    def add(self, counted: Mapping[int, Counter[str]]) -> None:
        """Add minutes that were not counted before."""
        for minute, counts in counted.items():
            self.minutes[minute].update(counts)
            self.hours[minute // 60].update(counts)


def _split(counts: Counter[str] | None) -> tuple[int, Counter[str]]:
    ended = Counter(counts)
    return ended.pop(_RECEIVED, 0), ended


def keep_history(storage: Storage) -> None:
    """Count the minutes that are over, and keep the counts. Twice at once does no harm."""
    mark = read_checkpoint(storage, _NAME)
    history = _load(mark.value if mark else None)
    with storage.read() as connection:
        now = connection.execute(select(now_ms())).scalar_one()
        until = (now - _SETTLED_MS) // MINUTE
        start = max(history.until, _first(now))
        if start >= until:
            return
        for since in range(start, until, _AT_ONCE):
            history.add(_count(connection, since, min(until, since + _AT_ONCE)))
    history.until = until
    write_checkpoint(storage, _NAME, _dump(history))


def read_history(connection: Connection, now: int) -> History:
    """Read what is kept, and count what came since; of the last day at most."""
    value = connection.execute(select(marks.c.value).where(marks.c.name == _NAME)).scalar()
    history = _load(value)
    history.add(_count(connection, max(history.until, _first(now)), None))
    return history


def _first(now: int) -> int:
    return (now // MINUTE // 60 - HOURS + 1) * 60


def _count(connection: Connection, start: int, end: int | None) -> dict[int, Counter[str]]:
    """Count the minutes from `start` to before `end`, or to now."""
    counted: dict[int, Counter[str]] = defaultdict(Counter)
    came, ended = webhook_events.c.received_at, jobs.c.finished_at
    minute = (came // MINUTE).label("minute")
    received = select(minute, func.count()).where(came >= start * MINUTE)
    minute = (ended // MINUTE).label("minute")
    done = select(minute, jobs.c.state, func.count()).where(ended >= start * MINUTE)
    if end is not None:
        received = received.where(came < end * MINUTE)
        done = done.where(ended < end * MINUTE)
    for at, count in connection.execute(received.group_by("minute")):
        counted[at][_RECEIVED] = count
    for at, state, count in connection.execute(done.group_by("minute", jobs.c.state)):
        counted[at][read_text(state)] = count
    return counted


def _dump(history: History) -> dict[str, Any]:
    """As plain JSON, and no more than is shown."""
    minutes, hours = history.until - MINUTES, history.until // 60 - HOURS
    return {
        "until": history.until,
        "minutes": [[at, counts] for at, counts in history.minutes.items() if at >= minutes],
        "hours": [[at, counts] for at, counts in history.hours.items() if at >= hours],
    }


def _load(value: Any) -> History:
    try:
        history = History(until=int(value["until"]))
        history.minutes.update(_counts(value["minutes"]))
        history.hours.update(_counts(value["hours"]))
    except (KeyError, TypeError, ValueError):
        return History()  # nothing is kept, or nothing that can be read: all is counted anew
    return history


def _counts(kept: Any) -> dict[int, Counter[str]]:
    return {
        int(at): Counter({state: int(count) for state, count in counts.items()})
        for at, counts in kept
    }


@dataclass(frozen=True)
class Hour:
    """One hour: events that came in, and jobs that ended in it, by final state."""

    at: datetime
    received: int = 0
    ended: Counter[str] = field(default_factory=Counter)


def last_day(storage: Storage) -> list[Hour]:
    """Count what came in and what ended in each of the last 24 hours, oldest first.

    Raises `StorageUnavailable`.
    """
    with storage.read() as connection:
        now = connection.execute(select(now_ms())).scalar_one()
        history = read_history(connection, now)
    last = now // _HOUR
    return [
        Hour(instant(at * _HOUR), *history.hour(at)) for at in range(last - HOURS + 1, last + 1)
    ]


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


def last_hour(storage: Storage) -> list[Minute]:
    """Count what came in and what ended in each of the last sixty minutes, oldest first."""
    with storage.read() as connection:
        now = connection.execute(select(now_ms())).scalar_one()
        history = read_history(connection, now)
    last = now // MINUTE
    return [
        Minute(instant(at * MINUTE), *history.minute(at))
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
            .where(attempt.id > after, attempt.finished_at >= now - MINUTE)
            .group_by(jobs.c.action, attempt.outcome)
            .order_by(jobs.c.action, attempt.outcome)
        ).all()
        ended = connection.execute(
            select(jobs.c.action, jobs.c.state, func.count())
            .where(jobs.c.finished_at >= now - MINUTE)
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
        if ended is None or ended < now - MINUTE - _OVERLAP_MS:
            return newest - reach
    return newest - _RECENT_ATTEMPTS


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
            .where(jobs.c.finished_at >= this_moment() - last_ms, jobs.c.state == "succeeded")
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
