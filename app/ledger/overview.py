"""What came in and what ended over a day, for a chart. It reads and changes nothing.

`last_hour` in `numbers` does the same by the minute.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import func, select

from app.events import instant
from app.storage import Storage
from app.storage.tables import jobs, now_ms, webhook_events

_HOUR = 3_600_000


@dataclass(frozen=True)
class Hour:
    """One hour: events that came in, and jobs that ended in it, by final state."""

    at: datetime
    received: int = 0
    ended: Counter[str] = field(default_factory=Counter)


def last_day(storage: Storage) -> list[Hour]:
    """Count what came in and what ended in each of the last 24 hours, oldest first.

    It reads the index entries of a whole day: not for a page that asks every few seconds. Raises
    `StorageUnavailable`.
    """
    received_at, finished_at = webhook_events.c.received_at, jobs.c.finished_at
    with storage.read() as connection:
        now = connection.execute(select(now_ms())).scalar_one()
        first = now // _HOUR - 23
        received = connection.execute(
            select((received_at // _HOUR).label("hour"), func.count())
            .where(received_at >= first * _HOUR)
            .group_by("hour")
        ).all()
        ended = connection.execute(
            select((finished_at // _HOUR).label("hour"), jobs.c.state, func.count())
            .where(finished_at >= first * _HOUR)
            .group_by("hour", jobs.c.state)
        ).all()
    events: dict[int, int] = {row[0]: row[1] for row in received}
    states: dict[int, Counter[str]] = {}
    for hour, state, count in ended:
        states.setdefault(hour, Counter())[state] = count
    return [
        Hour(instant(hour * _HOUR), events.get(hour, 0), states.get(hour, Counter()))
        for hour in range(first, first + 24)
    ]
