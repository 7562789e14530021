"""Leases of running jobs: heartbeat, renew, release, reclaim.

Every write of an attempt is fenced by its owner and number: a worker that lost its job cannot
change it any more.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    Connection,
    bindparam,
    case,
    insert,
    literal,
    null,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from app.db import Storage
from app.db.tables import attempts, beats, in_state, jobs, now_ms, one_more
from app.errors import JobLost
from app.events import storable
from app.queue.job import LEASE_MS, Job

# A job that ended its process this often is not tried again.
POISON_AFTER = 3


# Built once: to build a statement costs more than to run it.
_MINE = (
    (jobs.c.id == bindparam("its_id"))
    & (jobs.c.owner == bindparam("its_owner"))
    & (jobs.c.attempts == bindparam("its_attempt"))
    & in_state(jobs, "running")
)
_RENEW = update(jobs).where(_MINE).values(lease_until=now_ms() + literal(LEASE_MS))
_RENEW_WITH = _RENEW.values(progress=bindparam("its_progress"))


def _mine(job: Job) -> dict[str, Any]:
    return {"its_id": job.id, "its_owner": job.owner, "its_attempt": job.attempt}


def heartbeat(
    storage: Storage, *, owner: str, host: str, pid: int, running: Sequence[int]
) -> dict[int, int]:
    """Record a heartbeat of `owner`, and renew the leases of its `running` jobs.

    Returns those still its own, each with the number of the attempt whose lease was renewed: a
    worker that lost a job may have claimed it again meanwhile.
    """
    dialect = sqlite if storage.is_sqlite else postgresql

    def write(connection: Connection) -> dict[int, int]:
        connection.execute(
            dialect.insert(beats)
            .values(owner=owner, host=host, pid=pid, started_at=now_ms(), beat_at=now_ms())
            .on_conflict_do_update(index_elements=["owner"], set_={"beat_at": now_ms()})
        )
        if not running:
            return {}
        renewed = connection.execute(
            update(jobs)
            .where(jobs.c.id.in_(running), jobs.c.owner == owner, in_state(jobs, "running"))
            .values(lease_until=now_ms() + literal(LEASE_MS))
            .returning(jobs.c.id, jobs.c.attempts)
        )
        return dict(renewed.all())

    # Together with what is being finished: the two would lock the same jobs in different orders.
    return storage.shared_write(write)


def deregister(storage: Storage, *, owner: str) -> None:
    """Delete the heartbeats of a worker that stops, and of workers silent for an hour."""
    with storage.write() as connection:
        connection.execute(
            beats.delete().where(
                (beats.c.owner == owner) | (beats.c.beat_at < now_ms() - literal(3_600_000))
            )
        )


def renew_lease(storage: Storage, job: Job, *, progress: Mapping[str, Any] | None = None) -> None:
    """Make sure, right before a side effect, that this attempt still owns its job.

    Renews the lease, and writes `progress` where given, in the same statement: it survives an
    attempt that ends with its process in the middle of the side effect. Raises `JobLost` when
    another worker may have the job: a process that was stopped for a minute must do no harm when
    it goes on.
    """

    def renew(connection: Connection) -> None:
        if progress is None:
            held = connection.execute(_RENEW, _mine(job))
        else:
            values = {**_mine(job), "its_progress": storable(progress)}
            held = connection.execute(_RENEW_WITH, values)
        if held.rowcount == 0:
            raise lost(job)

    asked_at = time.monotonic()
    storage.shared_write(renew)
    job.lease.renewed(asked_at)


def lost(job: Job) -> JobLost:
    """Make the error for an attempt whose job another worker may own."""
    return JobLost(f"job {job.id}: attempt {job.attempt} lost its lease")


def release(storage: Storage, *, owner: str) -> int:
    """Return the running jobs of a worker that stops to the queue; returns how many.

    They are due at once for any worker, and it counts as no failure.
    """
    with storage.write() as connection:
        held = connection.execute(
            update(jobs)
            .where(jobs.c.owner == owner, in_state(jobs, "running"))
            .values(state="waiting", run_at=now_ms(), owner=null(), lease_until=null())
            .returning(jobs.c.id, jobs.c.attempts, jobs.c.started_at)
        ).all()
        _record(connection, [(row[0], row[1], row[2]) for row in held], owner, "released")
        return len(held)


def reclaim(storage: Storage) -> dict[int, str]:
    """Return jobs with expired leases to the queue; returns the new state of each, by id.

    A job that was lost `POISON_AFTER` times in a row is dead instead: it likely ends its process.
    """
    poisoned = jobs.c.losses >= POISON_AFTER - 1
    with storage.write() as connection:
        expired = connection.execute(
            update(jobs)
            .where(in_state(jobs, "running"), jobs.c.lease_until < now_ms())
            .values(
                state=case((poisoned, "dead"), else_="waiting"),
                reason=case((poisoned, "poison"), else_="lost"),
                message=case(
                    (poisoned, "the worker process ended during each of the last attempts"),
                    else_=null(),
                ),
                finished_at=case((poisoned, now_ms()), else_=null()),
                losses=one_more(jobs.c.losses),
                run_at=now_ms(),
                lease_until=null(),
            )
            .returning(jobs.c.id, jobs.c.attempts, jobs.c.started_at, jobs.c.owner, jobs.c.state)
        ).all()
        for row in expired:
            _record(connection, [(row[0], row[1], row[2])], row[3], "lost")
        return {row.id: row.state for row in expired}


def _record(
    connection: Connection, ended: Sequence[tuple[int, int, int]], owner: str, outcome: str
) -> None:
    for job_id, number, started_at in ended:
        connection.execute(
            insert(attempts).values(
                job=job_id,
                number=number,
                owner=owner,
                outcome=outcome,
                started_at=started_at,
                finished_at=now_ms(),
            )
        )
