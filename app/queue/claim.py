"""Claim: which waiting jobs a worker takes, when the next ones are due, and a peek at these.

A claim is one statement that skips rows locked by another worker; time is the database's clock.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Any

import structlog
from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    ScalarSelect,
    Select,
    and_,
    bindparam,
    case,
    exists,
    func,
    insert,
    literal,
    literal_column,
    not_,
    null,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.exc import IntegrityError

from app.db import Storage
from app.db.driver import Constant, read_document
from app.db.json_rows import among
from app.db.tables import attempts as tries
from app.db.tables import destination_states as states
from app.db.tables import in_state, jobs, now_ms, one_more, this_moment, webhook_events
from app.events import known_instant
from app.observability import sentry
from app.queue.coalescing import makes_pointless, newest_wins, supersede_older
from app.queue.job import LEASE_MS, SUSPECT_AFTER, Job, Lease
from app.queue.limits import Acquired, Limits, acquire, blocked_until, take_tokens
from app.queue.stats import first_due
from app.rules import item_of

_log = structlog.get_logger(__name__)


@lru_cache(maxsize=16)
def _first_due(queues: tuple[str, ...]) -> Constant:
    """The clock, and when the first waiting job of each queue is due; beside each destination."""
    firsts = [
        select(jobs.c.run_at)
        .where(in_state(jobs, "waiting"), jobs.c.lane == queue)
        .order_by(jobs.c.run_at)
        .limit(1)
        .scalar_subquery()
        .label(f"first_{number}")
        for number, queue in enumerate(queues)
    ]
    # One statement for both: each is a journey to the server. There need be no destination.
    one = select(literal_column("1").label("one")).subquery()
    return Constant(
        select(now_ms().label("now"), *firsts, states).select_from(one.outerjoin(states, true()))
    )


def due_times(
    storage: Storage, queues: Sequence[str], limits: Mapping[str, Limits] | None = None
) -> tuple[int, dict[str, int]]:
    """Return the clock, and for each queue that has waiting jobs when its first one may start (ms).

    That is when it is due, or later where the limits of its destination delay it.
    """
    if not queues:
        return 0, {}
    with storage.read() as connection:
        rows = _first_due(tuple(queues)).rows(connection)
    now, *times = rows[0][: 1 + len(queues)]
    # None: nothing waits. A text, which SQLite keeps where it is given one, is never due.
    due = {queue: at for queue, at in zip(queues, times, strict=True) if isinstance(at, int)}
    limited = {queue: own for queue, own in (limits or {}).items() if queue in due}
    blocked = blocked_until(rows, limited)
    return now, {queue: max(at, blocked.get(queue, 0)) for queue, at in due.items()}


def waiting_queues(storage: Storage) -> set[str]:
    """Find the queues that have waiting jobs, also those that no rule fills any more."""
    with storage.read() as connection:
        return set(first_due(connection))


def claim(
    storage: Storage,
    *,
    owner: str,
    wanted: Mapping[str, int],
    limits: Mapping[str, Limits] | None = None,
    suspect: bool = True,
) -> list[Job]:
    """Take due jobs: at most `wanted[queue]` of each queue; the claim counts as an attempt's start.

    Of one key only one job is taken, the oldest that no newer one makes pointless, and none while
    another one runs; waiting jobs that a taken one makes pointless are superseded. A queue
    with `limits` gives no more than these allow. May return fewer than there are when
    another worker claims at the same moment. A job whose row cannot be read is dead from then on
    (`unreadable`), and is not returned.

    A job that was lost twice with its process may be what ended it: of these at most one is taken,
    of the first queue, and none unless `suspect`. So they run one by one, and the one that does end
    its process is found out without taking the others with it.

    Each queue is a transaction of its own, so that no lock of one queue is kept while another is
    claimed. Raises `StorageUnavailable`; jobs of earlier queues are then left to their leases, so
    ask for one queue where that matters.
    """
    first = next(iter(wanted), None) if suspect else None
    taken: list[Job] = []
    for queue, count in wanted.items():
        own = (limits or {}).get(queue)
        try:
            with storage.write() as connection:
                found = _claim_within_limits(
                    connection, owner, queue, count, limits=own, suspect=queue == first
                )
        except IntegrityError:
            # The unique index on running keys refused: somebody was first. They are due still.
            continue
        taken += found
    return taken


def _claim_within_limits(
    connection: Connection,
    owner: str,
    queue: str,
    count: int,
    *,
    limits: Limits | None,
    suspect: bool,
) -> list[Job]:
    acquired = acquire(connection, limits, count=count) if limits else Acquired(count)
    taken: list[Job] = []
    if acquired.jobs:
        taken += _take(connection, _TAKE, queue, owner, acquired)
        if suspect and len(taken) < acquired.jobs:
            one = Acquired(1, acquired.max_in_flight)
            taken += _take(connection, _TAKE_SUSPECT, queue, owner, one)
    if limits:
        take_tokens(connection, limits, count=len(taken))
    return taken


def _free() -> ScalarSelect[Any]:
    """How many of the queue may start: `most`, and no more than `places` less those that run."""
    running = in_state(jobs, "running"), jobs.c.lane == bindparam("its_queue")
    left = select((bindparam("places", type_=Integer) - func.count()).label("left"))
    free = left.select_from(jobs).where(*running).subquery().c.left
    most = bindparam("most", type_=Integer)
    return select(case((free < 0, 0), (free < most, free), else_=most)).scalar_subquery()


def _due(which: ColumnElement[bool]) -> Select[tuple[int]]:
    other, newer = jobs.alias("other"), jobs.alias("newer")
    pointless = exists().where(
        newer.c.key == other.c.key,
        in_state(newer, "waiting", "running"),
        makes_pointless(newer, other),
    )
    comes_first = and_(
        other.c.id < jobs.c.id,
        # A retry that is due later holds nothing up: in the end the newest is sent. Nor does a job
        # that will not be taken: those of two rules would wait for each other.
        or_(not_(newest_wins(other)), and_(other.c.run_at <= this_moment(), ~pointless)),
    )
    ahead = exists().where(
        other.c.key == jobs.c.key,
        in_state(other, "waiting", "running"),
        or_(in_state(other, "running"), comes_first, makes_pointless(other, jobs)),
    )
    return (
        select(jobs.c.id)
        .where(
            in_state(jobs, "waiting"),
            jobs.c.lane == bindparam("its_queue"),
            jobs.c.run_at <= this_moment(),
            which,
            ~ahead,
        )
        .order_by(jobs.c.run_at, jobs.c.id)
        .limit(_free())
        .with_for_update(skip_locked=True, of=jobs)
    )


# What a job is told of its event, by the names of its fields.
_OF_EVENT = {
    name: webhook_events.c[name]
    for name in (
        "event_id",
        "request_id",
        "item_id",
        "snapshot_id",
        "snapshot_created",
        "schema",
        "label",
        "locale",
        "received_at",
        "trace",
    )
} | {"event_name": webhook_events.c.name}
_FIELDS = tuple(each.name for each in fields(Job) if each.name != "lease")
_NAMED = {**dict(jobs.c), "attempt": jobs.c.attempts, "queue": jobs.c.lane, **_OF_EVENT}
_COLUMNS = {name: _NAMED[name] for name in _FIELDS}
_MOMENTS = ("created_at", "received_at")


def _reading(source: FromClause) -> Select[Any]:
    """The fields of jobs, in their order, and last whether other jobs wait for the same key.

    `source` is the table, or a statement that has its columns.
    """
    column = {"attempt": source.c.attempts, "queue": source.c.lane, **_OF_EVENT}
    other = jobs.alias("other")
    contended = exists().where(
        other.c.key == source.c.key,
        in_state(other, "waiting", "running"),
        other.c.id != source.c.id,
    )
    return (
        select(*(column[name] if name in column else source.c[name] for name in _FIELDS), contended)
        .join(webhook_events, source.c.event == webhook_events.c.id)
        .order_by(source.c.run_at, source.c.id)
    )


class _Taking:
    """Takes jobs, and reads them; on PostgreSQL in one statement, which SQLite does not have."""

    def __init__(self, which: ColumnElement[bool]) -> None:
        taking = (
            update(jobs)
            .where(jobs.c.id.in_(_due(which)))
            .values(
                state="running",
                owner=bindparam("its_owner"),
                attempts=one_more(jobs.c.attempts),
                started_at=now_ms(),
                lease_until=now_ms() + literal(LEASE_MS),
            )
        )
        self._take = Constant(taking.returning(jobs.c.id))
        self._both = Constant(_reading(taking.returning(jobs).cte("taken")))

    def run(self, connection: Connection, **wanted: Any) -> Iterable[Sequence[Any]]:
        """Run it; a row for each job: its fields in their order, and `contended`."""
        if connection.dialect.name != "sqlite":
            return self._both.run(connection, **wanted)  # type: ignore[no-any-return]
        taken = [identifier for (identifier,) in self._take.run(connection, **wanted)]
        return _LOAD.run(connection, ids=taken) if taken else []


# Built once: to build a statement costs more than to run it.
_TAKE = _Taking(jobs.c.losses < SUSPECT_AFTER)
_TAKE_SUSPECT = _Taking(jobs.c.losses >= SUSPECT_AFTER)
_LOAD = Constant(_reading(jobs).where(among(jobs.c.id, "ids")))


def _take(
    connection: Connection, taking: _Taking, queue: str, owner: str, acquired: Acquired
) -> list[Job]:
    count, places = acquired
    asked_at = time.monotonic()
    rows = taking.run(connection, its_queue=queue, its_owner=owner, most=count, places=places)
    loaded = [(_loaded(connection, row[:-1], Lease(asked_at)), row[-1]) for row in rows]
    taken = [(job, is_contended) for job, is_contended in loaded if job is not None]
    if contended := [job.id for job, is_contended in taken if is_contended]:
        supersede_older(connection, contended)
    return [job for job, _ in taken]


def _loaded(connection: Connection, row: Sequence[Any], lease: Lease) -> Job | None:
    """The job of a row. One that cannot be read becomes dead here: no row may stop a worker."""
    try:
        return _job(row, lease)
    except _Unreadable as error:
        identifier, owner, attempt, *_ = row
        why = {"reason": "unreadable", "message": str(error)}
        connection.execute(
            update(jobs)
            .where(jobs.c.id == identifier)
            .values(state="dead", finished_at=now_ms(), owner=null(), lease_until=null(), **why)
        )
        tried = {"job": identifier, "number": attempt, "owner": owner, "outcome": "failed"}
        connection.execute(insert(tries).values(**tried, finished_at=now_ms(), **why))
        _log.error("job.dead", job_id=identifier, attempt=attempt, state="dead", **why)
        sentry.report("job is dead", reason="unreadable", job_id=identifier)
        return None


class _Unreadable(ValueError):
    """Says which value of a row does not fit."""


def _job(row: Sequence[Any], lease: Lease) -> Job:
    """A job from a row, whose columns stand in the order of the fields."""
    given = dict(zip(_FIELDS, row, strict=True))
    for name, (kind, optional) in _KINDS.items():
        value = read_document(given[name]) if kind is dict else given[name]
        # A document that is no JSON reads as None.
        if not isinstance(value, kind) and not (optional and given[name] is None):
            raise _Unreadable(f"The stored {name} of this job cannot be read.")
        given[name] = value
    # Nothing depends on it, and a replay would find the same row.
    given["snapshot_created"] = known_instant(given["snapshot_created"])
    for name in _MOMENTS:
        if (moment := known_instant(given[name])) is None:
            raise _Unreadable(f"The stored {name} of this job is outside of the years 1 to 9999.")
        given[name] = moment
    given["progress"] = given["progress"] or {}
    return Job(**given | item_of(given["args"]), lease=lease)


# Of each field the type of its values, and whether it may be empty. SQLite keeps what it is given.
_KINDS: Mapping[str, tuple[type, bool]] = {
    name: (
        dict if isinstance(column.type, JSON) else column.type.python_type,
        bool(column.nullable),
    )
    for name, column in _COLUMNS.items()
    if name != "snapshot_created"
}


_DUE_NEXT = (
    select(jobs.c.id, jobs.c.args)
    .where(
        in_state(jobs, "waiting"),
        jobs.c.lane == bindparam("its_queue"),
        jobs.c.hub == bindparam("its_hub"),
        jobs.c.run_at <= this_moment(),
    )
    .order_by(jobs.c.run_at, jobs.c.id)
    .limit(bindparam("most", type_=Integer))
)


def due_next(storage: Storage, job: Job, *, limit: int) -> list[tuple[int, Mapping[str, Any]]]:
    """The id and arguments of jobs of the same queue and hub that are due, in the claim's order.

    Nobody promises that they run here, or at all: another worker may claim them, or a newer event
    take their place.
    """
    wanted = {"its_queue": job.queue, "its_hub": job.hub, "most": limit}
    with storage.read() as connection:
        rows = connection.execute(_DUE_NEXT, wanted).all()
    # Without those that cannot be read: they must not keep this job from being done.
    return [(row[0], row[1]) for row in rows if isinstance(row[1], dict) and "item_id" in row[1]]
