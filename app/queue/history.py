"""What came in and what ended, by the minute and by the hour, for charts.

A page that asks every few seconds must not count a day's events each time. So a minute that is
over is counted once, by a worker, and kept: the last sixty, and the hours that they add up to, in
one small row. What is not in there yet is counted when it is asked for. A job that is retried
later stays in the minute in which it ended first.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, func, select

from app.db import Storage
from app.db.driver import read_text
from app.db.tables import jobs, marks, now_ms, webhook_events
from app.queue.marks import read_mark, write_mark

MINUTE = 60_000
MINUTES = 60
HOURS = 24
_RECEIVED = "received"
_NAME = "history"
# What a slow transaction writes late must still be counted: a minute is over this much later.
_SETTLED_MS = 15_000
# So many minutes are counted by one query, so that a first time on a busy ledger comes to an end.
_AT_ONCE = 30


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
    mark = read_mark(storage, _NAME)
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
    write_mark(storage, _NAME, _dump(history))


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
