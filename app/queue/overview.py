"""What came in and what ended over a day, for a chart. It reads and changes nothing.

`last_hour` in `numbers` does the same by the minute.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select

from app.db import Storage
from app.db.tables import now_ms
from app.events import instant
from app.queue.history import HOURS, read_history

_HOUR = 3_600_000


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
