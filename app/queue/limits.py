"""Limits of a destination over all processes: rate limit, concurrency, circuit breaker, pause.

A destination's state is one row, which each claim locks, so that the jobs one process starts are
counted before the next process reads it. Jobs that may not start yet stay in the queue.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from app.db import Storage
from app.db.driver import Constant
from app.db.json_rows import among
from app.db.tables import destination_states as states
from app.db.tables import now_ms

# Failures in a row, over all processes, after which nothing more is sent for a while.
OPEN_AFTER = 5
_FIRST_PAUSE_MS = 10_000
_LONGEST_PAUSE_MS = 300_000
# A probe whose worker was killed is followed by another one after this time.
_PROBE_MS = 30_000
# After it closed, a destination is given one job at once, and one more for each good answer: twice
# as many in the time that it takes to answer. After so many answers it has all again.
_SLOW_START_ENDS = 64

# More than any worker can have at once.
NO_LIMIT = 1 << 30

Health = Literal["good", "bad", "gone"]
Change = Literal["opened", "closed", "paused"]


@dataclass(frozen=True)
class Limits:
    """The limits of one destination: starts per second, and jobs at once; None for no limit."""

    destination: str
    rate: float | None = None
    concurrency: int | None = None


# Built once: to build a statement costs more than to run it.
_LOCK = Constant(
    select(states, now_ms().label("now"))
    .where(states.c.name == bindparam("its_name"))
    .with_for_update()
)
_BREAKERS = Constant(
    select(states.c.name, states.c.failures, states.c.breaker, states.c.places).where(
        among(states.c.name, "names")
    )
)


class Acquired(NamedTuple):
    """How many jobs may start now, and how many of the queue may run at once, these included."""

    jobs: int
    max_in_flight: int = NO_LIMIT


def acquire(connection: Connection, limits: Limits, *, count: int) -> Acquired:
    """Return how many of `count` jobs may start now; locks the destination until the commit.

    Turns an open breaker whose pause is over into half-open, and allows its one probe.
    """
    row = _locked(connection, limits.destination)
    if row.paused_at is not None:
        return Acquired(0)
    if row.breaker != "closed":
        return Acquired(_probe(connection, limits.destination, row))
    if limits.rate is not None:
        count = min(count, _tokens(limits.rate, row) // 1000)
    return Acquired(count, _max_in_flight(limits, row))


def take_tokens(connection: Connection, limits: Limits, *, count: int) -> None:
    """Take the started jobs out of the token bucket of the destination's rate limit."""
    if limits.rate is None or count == 0:
        return
    row = _locked(connection, limits.destination)
    left = _tokens(limits.rate, row) - 1000 * count
    given = {"tokens": left, "tokens_at": row.now}
    connection.execute(update(states).where(states.c.name == limits.destination).values(given))


def blocked_until(rows: Iterable[Any], limits: Mapping[str, Limits]) -> dict[str, int]:
    """Return when each queue may start its next job (ms); far in the future for paused ones.

    `rows` are those of the destinations. Pure.
    """
    known = {row.name: row for row in rows}
    return {
        queue: _blocked_until(own, known[own.destination])
        for queue, own in limits.items()
        if own.destination in known
    }


@dataclass(frozen=True)
class DestinationState:
    """State of a destination: its breaker (`closed`, `open`, `half-open`) and its pause."""

    breaker: str = "closed"
    paused: bool = False


def read_destination_states(storage: Storage) -> dict[str, DestinationState]:
    """Read the states of destinations by name, without those that never failed nor were paused."""
    with storage.read() as connection:
        rows = connection.execute(select(states.c.name, states.c.breaker, states.c.paused_at)).all()
    return {row.name: DestinationState(row.breaker, row.paused_at is not None) for row in rows}


def _blocked_until(limits: Limits, row: Any) -> int:
    if row.paused_at is not None:
        return 1 << 60
    if row.breaker != "closed":
        return int(row.probe_at or 0)
    if limits.rate is None or row.tokens is None or row.tokens >= 1000:
        return 0
    return int(row.tokens_at + (1000 - row.tokens) / limits.rate) + 1


def record_health(storage: Storage, destination: str, health: Health) -> Change | None:
    """Do what `record_healths` does, in a transaction of its own."""
    with storage.write() as connection:
        [change] = record_healths(connection, [(destination, health)])
        return change


def record_healths(
    connection: Connection, sends: Sequence[tuple[str, Health | None]]
) -> list[Change | None]:
    """Record the results of sends, in order; returns what each changed, once over all processes.

    None says nothing about its destination. Most sends succeed, change nothing, and lock no row.
    """
    good = {name for name, health in sends if health == "good"}
    needing = _needing_reset(connection, good) if good else set[str]()
    changes: list[Change | None] = []
    for name, health in sends:
        if health is None or (health == "good" and name not in needing):
            changes.append(None)
            continue
        changes.append(_record_health(connection, name, health))
        needing.add(name)
    return changes


def _record_health(connection: Connection, destination: str, health: Health) -> Change | None:
    """Record the result of a send; returns what it changed, once over all processes.

    `gone` (410) pauses the destination: it asked for nothing more (Standard Webhooks).
    """
    row = _locked(connection, destination)
    values, change = _after(row, health)
    connection.execute(update(states).where(states.c.name == destination).values(values))
    return change


def _needing_reset(connection: Connection, destinations: Collection[str]) -> set[str]:
    """Return the destinations whose state a success changes."""
    rows = _BREAKERS.rows(connection, names=sorted(destinations))
    return {
        row.name
        for row in rows
        if row.failures > 0 or row.breaker != "closed" or row.places is not None
    }


def _after(row: Any, health: Health) -> tuple[dict[str, Any], Change | None]:
    """Return the new state of a destination. Pure."""
    if health == "gone":
        paused = {"paused_at": row.now, "paused_reason": "gone"}
        return paused, None if row.paused_at is not None else "paused"
    if health == "bad":
        return _after_failure(row)
    if row.breaker == "closed":
        return {"failures": 0, "places": _one_more(row.places)}, None
    closed = {"failures": 0, "breaker": "closed", "closed_at": row.now, "probe_at": None}
    return closed | {"places": 1}, "closed"


def _one_more(places: int | None) -> int | None:
    return None if places is None or places >= _SLOW_START_ENDS else places + 1


def _after_failure(row: Any) -> tuple[dict[str, Any], Change | None]:
    failures = row.failures + 1
    # While it is open, attempts that were under way still come back bad: they prolong nothing.
    if row.breaker == "open" or (row.breaker == "closed" and failures < OPEN_AFTER):
        # And a destination that is weak still begins with one job again.
        weak = {} if row.places is None else {"places": 1}
        return {"failures": failures, **weak}, None
    recently = row.closed_at is not None and row.now - row.closed_at < _LONGEST_PAUSE_MS
    openings = row.openings + 1 if row.breaker == "half-open" or recently else 1
    pause = min(_FIRST_PAUSE_MS * 2 ** min(openings - 1, 10), _LONGEST_PAUSE_MS)
    opened = {
        "failures": failures,
        "breaker": "open",
        "openings": openings,
        "probe_at": row.now + pause,
    }
    if row.breaker == "half-open":
        return opened, None
    return opened | {"opened_at": row.now}, "opened"


def _locked(connection: Connection, name: str) -> Any:
    """Lock and read the destination's row until the commit; `now` is the database's clock."""
    if not (rows := _LOCK.rows(connection, its_name=name)):
        dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
        connection.execute(
            dialect.insert(states).values(name=name).on_conflict_do_nothing(index_elements=["name"])
        )
        rows = _LOCK.rows(connection, its_name=name)
    return rows[0]


def _probe(connection: Connection, name: str, row: Any) -> int:
    if row.probe_at is not None and row.probe_at > row.now:
        return 0
    connection.execute(
        update(states)
        .where(states.c.name == name)
        .values(breaker="half-open", probe_at=row.now + _PROBE_MS)
    )
    return 1


def _max_in_flight(limits: Limits, row: Any) -> int:
    """Return how many jobs may run at once now."""
    bounds = [bound for bound in (limits.concurrency, row.places) if bound is not None]
    return min(bounds, default=NO_LIMIT)


def _tokens(rate: float, row: Any) -> int:
    """Return the tokens in the bucket, in thousandths: up to one second's worth, or one send."""
    full = max(1000, round(rate * 1000))
    if row.tokens is None or row.tokens_at is None:
        return full
    return min(full, int(row.tokens + (row.now - row.tokens_at) * rate))
