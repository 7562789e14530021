"""The verb *claim*: which waiting jobs a worker takes, and what it is told about them.

A claim is one statement that passes over rows which another worker holds; time is the database's
own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, exists, literal, select, update
from sqlalchemy.exc import IntegrityError

from app.events import instant
from app.ledger.pacing import Pace, admit, spend
from app.ledger.queues import first_due
from app.storage import Storage
from app.storage.tables import in_state, jobs, now_ms, this_moment, webhook_events

# Another worker takes a job over when its owner has not beaten for this long. Four beats fit in.
LEASE_MS = 10_000
# A job that was lost this often with its process may be what ended it.
SUSPECT_AFTER = 2


# Everything but the body: it may be large, and no action reads it.
_OF_THE_EVENT = tuple(column for column in webhook_events.c if column.name != "body")


@dataclass(frozen=True)
class Job:
    """One claimed job with what its action needs to know of the event.

    `attempt` is the number of this try, counted in the ledger before anything is done. `failures`
    counts earlier failed tries, `losses` those that ended with their process. `progress` is what
    an earlier attempt left.
    """

    id: int
    owner: str
    attempt: int
    failures: int
    hub: str
    rule: str
    action: str
    target: str
    lane: str
    key: str
    version: int
    args: Mapping[str, Any]
    progress: Mapping[str, Any]
    created_at: datetime
    event_id: str
    event_name: str
    request_id: str | None
    item_id: str | None
    snapshot_id: str | None
    snapshot_created: datetime | None
    schema: str | None
    label: str | None
    locale: str | None
    received_at: datetime
    losses: int = 0
    trace: str | None = None

    @property
    def is_suspect(self) -> bool:
        """Whether it may be what ended the processes that it was lost with."""
        return self.losses >= SUSPECT_AFTER


def due_times(storage: Storage, lanes: Sequence[str]) -> tuple[int, dict[str, int]]:
    """Return the clock, and for each lane that has waiting jobs when its first one is due (ms)."""
    if not lanes:
        return 0, {}
    firsts = [
        select(jobs.c.run_at)
        .where(in_state(jobs, "waiting"), jobs.c.lane == lane)
        .order_by(jobs.c.run_at)
        .limit(1)
        .scalar_subquery()
        for lane in lanes
    ]
    with storage.read() as connection:
        row = connection.execute(select(now_ms(), *firsts)).one()
    now, *times = row
    return now, {lane: due for lane, due in zip(lanes, times, strict=True) if due is not None}


def waiting_lanes(storage: Storage) -> set[str]:
    """Find the lanes that have waiting jobs, also those that no rule fills any more."""
    with storage.read() as connection:
        return set(first_due(connection))


def claim(
    storage: Storage,
    *,
    owner: str,
    wanted: Mapping[str, int],
    paces: Mapping[str, Pace] | None = None,
    suspect: bool = True,
) -> list[Job]:
    """Take due jobs: at most `wanted[lane]` of each lane; the claim counts as an attempt's start.

    Of one key only the oldest waiting job is taken, and none while another one runs. A lane with a
    pace gives no more than its destination's limits allow. May return fewer than there are when
    another worker claims at the same moment.

    A job that was lost twice with its process may be what ended it: of these at most one is taken,
    of the first lane, and none unless `suspect`. So they run one by one, and the one that does end
    its process is found out without taking the others with it.
    """
    first = next(iter(wanted), None) if suspect else None
    try:
        with storage.write() as connection:
            taken = [
                identifier
                # In one order for all workers: each locks the destinations' rows until its commit,
                # and two that locked them in different orders would wait for each other.
                for lane, count in sorted(wanted.items())
                for identifier in _claim_paced(
                    connection,
                    owner,
                    lane,
                    count,
                    pace=(paces or {}).get(lane),
                    suspect=lane == first,
                )
            ]
            return _load(connection, taken) if taken else []
    except IntegrityError:
        # The unique index on running keys refused: somebody was first. They are due still.
        return []


def _claim_paced(
    connection: Connection,
    owner: str,
    lane: str,
    count: int,
    *,
    pace: Pace | None,
    suspect: bool,
) -> list[int]:
    if pace is None:
        return _claim_lane(connection, owner, lane, count, suspect=suspect)
    now = connection.execute(select(now_ms())).scalar_one()
    count = admit(connection, pace, lane=lane, count=count, now=now)
    if count == 0:
        return []
    taken = _claim_lane(connection, owner, lane, count, suspect=suspect)
    spend(connection, pace, count=len(taken), now=now)
    return taken


def _claim_lane(
    connection: Connection, owner: str, lane: str, count: int, *, suspect: bool
) -> list[int]:
    taken = _take(connection, _due(lane, count, jobs.c.losses < SUSPECT_AFTER), owner)
    if suspect and len(taken) < count:
        taken += _take(connection, _due(lane, 1, jobs.c.losses >= SUSPECT_AFTER), owner)
    return taken


def _due(lane: str, count: int, which: ColumnElement[bool]) -> Select[tuple[int]]:
    other = jobs.alias("other")
    ahead = exists().where(
        other.c.key == jobs.c.key,
        in_state(other, "waiting", "running"),
        (other.c.id < jobs.c.id) | in_state(other, "running"),
    )
    return (
        select(jobs.c.id)
        .where(
            in_state(jobs, "waiting"),
            jobs.c.lane == lane,
            jobs.c.run_at <= this_moment(),
            which,
            ~ahead,
        )
        .order_by(jobs.c.run_at, jobs.c.id)
        .limit(count)
        .with_for_update(skip_locked=True)
    )


def _take(connection: Connection, due: Select[tuple[int]], owner: str) -> list[int]:
    return list(
        connection.execute(
            update(jobs)
            .where(jobs.c.id.in_(due))
            .values(
                state="running",
                owner=owner,
                attempts=jobs.c.attempts + 1,
                started_at=now_ms(),
                lease_until=now_ms() + literal(LEASE_MS),
            )
            .returning(jobs.c.id)
        ).scalars()
    )


def _load(connection: Connection, identifiers: Sequence[int]) -> list[Job]:
    rows = connection.execute(
        select(jobs, *_OF_THE_EVENT)
        .join(webhook_events, jobs.c.event == webhook_events.c.id)
        .where(jobs.c.id.in_(identifiers))
        .order_by(jobs.c.run_at, jobs.c.id)
    ).mappings()
    return [_job(row) for row in rows]


def _job(row: Mapping[Any, Any]) -> Job:
    job, event = jobs.c, webhook_events.c
    created = row[event.snapshot_created]
    return Job(
        id=row[job.id],
        owner=row[job.owner],
        attempt=row[job.attempts],
        failures=row[job.failures],
        hub=row[job.hub],
        rule=row[job.rule],
        action=row[job.action],
        target=row[job.target],
        lane=row[job.lane],
        key=row[job.key],
        version=row[job.version],
        args=row[job.args],
        progress=row[job.progress] or {},
        created_at=instant(row[job.created_at]),
        event_id=row[event.event_id],
        event_name=row[event.name],
        request_id=row[event.request_id],
        item_id=row[event.item_id],
        snapshot_id=row[event.snapshot_id],
        snapshot_created=None if created is None else instant(created),
        schema=row[event.schema],
        label=row[event.label],
        locale=row[event.locale],
        received_at=instant(row[event.received_at]),
        losses=row[job.losses],
        trace=row[event.trace],
    )
