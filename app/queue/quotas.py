"""Quotas over all processes, exact in every sliding window: one row per use that still counts.

A slot that was used may be used again one period and a margin later, by the database's clock. All
reserve from the same table, one after the other, so that no window of one period ever holds more
uses than the quota allows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from app.db import Storage
from app.db.tables import now_ms, quota_slots

# A call arrives a little after its slot was reserved, and not each one equally late: the margin
# keeps two calls of one slot a whole period apart where they are counted.
MARGIN_MS = 50

# One quota for all hubs: Amplience counts publishing and unpublishing together and for the whole
# company, whose editors need their part of it (https://amplience.com/developers/docs/apis/limits).
PUBLISH = "publish"
MINUTE_MS = 60_000
# What bulk work leaves of it to what a webhook asks for.
BULK_LEAVES = 0.2


@dataclass(frozen=True)
class Choice:
    """The slot to take, or, where it is None, how many milliseconds until there is one."""

    slot: int | None
    wait_ms: int = 0


def reserve(
    storage: Storage, quota: str, *, limit: int, period_ms: int, keep_free: int = 0
) -> float:
    """Take one of `limit` uses per `period_ms`: 0.0 when it was taken, else seconds to wait.

    A use that was taken counts, whether it is made or not; make it at once. With `keep_free`, that
    many uses of every period are left to others: bulk work must not take the last ones. The caller
    that is told to wait has taken nothing and is in no queue; another may be first then as well.
    Raises `StorageUnavailable`.
    """
    pause = period_ms + MARGIN_MS
    with storage.write() as connection:
        now, free_at = _stand(connection, quota, pause)
        choice = choose(free_at, now=now, limit=limit - keep_free)
        if choice.slot is None:
            return choice.wait_ms / 1000
        dialect = sqlite if storage.is_sqlite else postgresql
        connection.execute(
            dialect.insert(quota_slots)
            .values(quota=quota, slot=choice.slot, free_at=now + pause)
            .on_conflict_do_update(index_elements=["quota", "slot"], set_={"free_at": now + pause})
        )
        return 0.0


def reserve_publish(storage: Storage, *, per_minute: int, bulk: bool = False) -> float:
    """Take one publish or unpublish of the minute; as `reserve`. `bulk` leaves some to others."""
    keep_free = math.ceil(per_minute * BULK_LEAVES) if bulk and per_minute > 1 else 0
    return reserve(storage, PUBLISH, limit=per_minute, period_ms=MINUTE_MS, keep_free=keep_free)


def _stand(connection: Connection, quota: str, pause: int) -> tuple[int, dict[int, int]]:
    """The clock, and when each slot is free, with every other process standing still."""
    if connection.dialect.name != "sqlite":
        # What is free is counted, so one at a time. On SQLite every write transaction is alone.
        name = func.hashtextextended(f"dc-relay quota {quota}", 0)
        connection.execute(select(func.pg_advisory_xact_lock(name)))
    now = connection.execute(select(now_ms())).scalar_one()
    # No use counts for longer than a period: had the clock been set back, the times of before
    # would hold everything up.
    connection.execute(
        update(quota_slots)
        .where(quota_slots.c.quota == quota, quota_slots.c.free_at > now + pause)
        .values(free_at=now + pause)
    )
    rows = connection.execute(
        select(quota_slots.c.slot, quota_slots.c.free_at).where(quota_slots.c.quota == quota)
    )
    return now, {row.slot: row.free_at for row in rows}


def choose(free_at: Mapping[int, int], *, now: int, limit: int) -> Choice:
    """Pick a slot, given when each one that was ever used is free again.

    Every use that still counts is counted, also one in a slot beyond `limit`: a quota that was
    made smaller holds at once. With a `limit` of nothing there is never one: ask again in a second.
    """
    if limit < 1:
        return Choice(None, wait_ms=1000)
    busy = sorted(moment for moment in free_at.values() if moment > now)
    if len(busy) < limit:
        return Choice(next(n for n in range(len(free_at) + 1) if free_at.get(n, 0) <= now))
    return Choice(None, wait_ms=busy[len(busy) - limit] - now)
