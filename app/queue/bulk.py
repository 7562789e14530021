"""Bulk runs of long commands: their position, and the states of their jobs.

A run is found again by what was asked, so that a command that was stopped goes on. Its events carry
the run's name as their request id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, exists, func, insert, select, update

from app.db import Storage
from app.db.tables import bulk_runs, in_state, jobs, now_ms, sent_items, webhook_events
from app.queue.coalescing import DELETED
from app.queue.ingest import accept
from app.queue.insert_events import Batch

ORIGIN = "bulk"
_ACTIVE = frozenset({"waiting", "running"})
# A commit for so many; no other writer waits long for it.
_AT_ONCE = 200


@dataclass(frozen=True)
class BulkRun:
    """One run of a long command.

    `position` is where its listing stands, as the command itself wrote it; None at the start.
    `counts` are the command's own. `opened_at` is the database's clock when it was opened or taken
    up; times are milliseconds since 1970. `resumed` tells whether an earlier command began it.
    """

    id: int
    kind: str
    args: Mapping[str, Any]
    position: Any
    counts: Mapping[str, int]
    created_at: int
    opened_at: int
    resumed: bool = False

    @property
    def name(self) -> str:
        """The request id of its events, and the beginning of their ids.

        With the time: a new database counts its runs from 1 again, and destinations remember what
        they were sent by ids that are made from these.
        """
        return f"bulk-{self.id}-{self.created_at:x}"


@dataclass(frozen=True)
class DeadItems:
    """Jobs of a run that are dead for one reason, with the ids of a few of their items."""

    reason: str | None
    jobs: int
    items: tuple[str, ...]


@dataclass(frozen=True)
class RunState:
    """How many jobs of a run are in each state."""

    jobs: Mapping[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All of its jobs, with those that followed from others."""
        return sum(self.jobs.values())

    @property
    def ended(self) -> int:
        """Those of which nothing more will come by itself."""
        return sum(count for state, count in self.jobs.items() if state not in _ACTIVE)

    @property
    def dead(self) -> int:
        """Those that were given up."""
        return self.jobs.get("dead", 0)


def open_run(
    storage: Storage, kind: str, args: Mapping[str, Any], *, restart: bool = False
) -> BulkRun:
    """Take up the run of this kind and these args that is not done, or begin one.

    `args` is plain JSON, and says all that the run is about. With `restart` an unfinished one is
    closed first; its jobs stay. Raises `StorageUnavailable`.
    """
    with storage.write() as connection:
        if not storage.is_sqlite:
            # Two commands at the same moment: the second finds the first one's run.
            lock = func.hashtextextended(f"dc-relay bulk {kind}", 0)
            connection.execute(select(func.pg_advisory_xact_lock(lock)))
        now = connection.execute(select(now_ms())).scalar_one()
        found = _unfinished(connection, kind, args)
        if found and restart:
            _close(connection, found["id"], now)
        elif found:
            return _run(found, now, resumed=True)
        row = {"kind": kind, "args": dict(args), "counts": {}, "state": "running"}
        identifier = connection.execute(
            insert(bulk_runs)
            .values(**row, created_at=now, updated_at=now)
            .returning(bulk_runs.c.id)
        ).scalar_one()
        return BulkRun(identifier, kind, dict(args), None, {}, now, now)


def accept_for_run(
    storage: Storage, run: BulkRun, batch: Batch, *, position: Any, counts: Mapping[str, int]
) -> None:
    """Accept a part of the run's events, then write where the run stands.

    Should the process end between the two, the part is listed again, and its events are known.
    Raises `StorageUnavailable`.
    """
    for start in range(0, len(batch), _AT_ONCE):
        accept(storage, batch[start : start + _AT_ONCE])
    with storage.write() as connection:
        connection.execute(
            update(bulk_runs)
            .where(bulk_runs.c.id == run.id)
            .values(position=position, counts=dict(counts), updated_at=now_ms())
        )


def close_run(storage: Storage, run: BulkRun) -> None:
    """Write that the run is done: the same command begins a new one. Raises StorageUnavailable."""
    with storage.write() as connection:
        _close(connection, run.id, connection.execute(select(now_ms())).scalar_one())


def run_state(storage: Storage, run: BulkRun) -> RunState:
    """Count the run's jobs by state. It reads what was received since the run began."""
    with storage.read() as connection:
        rows = connection.execute(
            select(jobs.c.state, func.count().label("jobs"))
            .join(webhook_events, _events_of(run))
            .group_by(jobs.c.state)
        )
        return RunState({row.state: row.jobs for row in rows})


def dead_items(storage: Storage, run: BulkRun, *, most: int = 5) -> list[DeadItems]:
    """What is dead of the run, by reason, with at most `most` item ids for each."""
    found: dict[str | None, list[str]] = {}
    with storage.read() as connection:
        rows = connection.execute(
            select(jobs.c.reason, webhook_events.c.item_id)
            .join(webhook_events, _events_of(run))
            .where(in_state(jobs, "dead"))
            .order_by(jobs.c.id)
        )
        for reason, item_id in rows:
            found.setdefault(reason, []).append(item_id or "")
    return [DeadItems(reason, len(ids), tuple(ids[:most])) for reason, ids in found.items()]


def items_of_run(storage: Storage, run: BulkRun) -> set[str]:
    """The ids of the items that the run has asked anything for."""
    with storage.read() as connection:
        rows = connection.execute(
            select(webhook_events.c.item_id).where(
                webhook_events.c.request_id == run.name,
                webhook_events.c.origin == ORIGIN,
                webhook_events.c.received_at >= run.created_at,
            )
        )
        return {item_id for item_id in rows.scalars() if item_id}


def published_before(
    storage: Storage, *, destination: str, hub: str, schemas: Sequence[str]
) -> dict[str, tuple[str, int]]:
    """Items of these schemas that the destination was last sent as published.

    By id: the schema, and the database's time of this look, which is the version of a removal: what
    is published after it wins.
    """
    gone = sent_items.alias("gone")
    deleted_since = exists().where(
        *(gone.c[name] == sent_items.c[name] for name in ("destination", "hub", "item_id")),
        gone.c.kind == DELETED,
        gone.c.version >= sent_items.c.version,
    )
    with storage.read() as connection:
        rows = connection.execute(
            select(sent_items.c.item_id, sent_items.c.schema, now_ms().label("now"))
            .where(
                sent_items.c.destination == destination,
                sent_items.c.hub == hub,
                sent_items.c.kind == "published",
                sent_items.c.schema.in_(schemas),
                ~deleted_since,
            )
            .order_by(sent_items.c.item_id)
        )
        return {row.item_id: (row.schema, row.now) for row in rows}


def _events_of(run: BulkRun) -> Any:
    # `received_at` has an index, and bounds what is read.
    return and_(
        jobs.c.event == webhook_events.c.id,
        webhook_events.c.request_id == run.name,
        webhook_events.c.origin == ORIGIN,
        webhook_events.c.received_at >= run.created_at,
    )


def _unfinished(connection: Connection, kind: str, args: Mapping[str, Any]) -> RowMapping | None:
    rows = connection.execute(
        select(bulk_runs)
        .where(bulk_runs.c.kind == kind, bulk_runs.c.state == "running")
        .order_by(bulk_runs.c.id.desc())
    ).mappings()
    # Compared here: the databases do not agree on when two JSON texts are equal.
    return next((row for row in rows if row["args"] == args), None)


def _close(connection: Connection, identifier: int, now: int) -> None:
    connection.execute(
        update(bulk_runs).where(bulk_runs.c.id == identifier).values(state="done", updated_at=now)
    )


def _run(row: RowMapping, now: int, *, resumed: bool) -> BulkRun:
    return BulkRun(
        id=row["id"],
        kind=row["kind"],
        args=row["args"],
        position=row["position"],
        counts=row["counts"] if isinstance(row["counts"], dict) else {},
        created_at=row["created_at"],
        opened_at=now,
        resumed=resumed,
    )
