"""The verbs of a job at work: beat, hold, finish, release, take over.

Every write of an attempt is fenced by its owner and number: a worker that lost its job cannot
change it any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, case, insert, literal, null, select, update
from sqlalchemy.dialects import postgresql, sqlite

from app.errors import JobLost
from app.ledger.accepting import NEWEST_WINS
from app.ledger.claiming import LEASE_MS, Job
from app.ledger.following import follow
from app.ledger.pacing import Change, note_health
from app.ledger.precedence import same_say
from app.ledger.sent import note_sent
from app.retry import Decision
from app.storage import Storage
from app.storage.tables import attempts, beats, in_state, jobs, messages, now_ms

# A job that ended its process this often is not tried again.
POISON_AFTER = 3


def _mine(job: Job) -> ColumnElement[bool]:
    return (
        (jobs.c.id == job.id)
        & (jobs.c.owner == job.owner)
        & (jobs.c.attempts == job.attempt)
        & in_state(jobs, "running")
    )


def beat(storage: Storage, *, owner: str, host: str, pid: int, running: Sequence[int]) -> set[int]:
    """Say that `owner` lives, and renew the leases of `running`; returns those still its own."""
    dialect = sqlite if storage.is_sqlite else postgresql

    def write(connection: Connection) -> set[int]:
        connection.execute(
            dialect.insert(beats)
            .values(owner=owner, host=host, pid=pid, started_at=now_ms(), beat_at=now_ms())
            .on_conflict_do_update(index_elements=["owner"], set_={"beat_at": now_ms()})
        )
        if not running:
            return set()
        renewed = connection.execute(
            update(jobs)
            .where(jobs.c.id.in_(running), jobs.c.owner == owner, in_state(jobs, "running"))
            .values(lease_until=now_ms() + literal(LEASE_MS))
            .returning(jobs.c.id)
        )
        return set(renewed.scalars())

    # Together with what is being finished: the two would lock the same jobs in different orders.
    return storage.together(write)


def retire(storage: Storage, *, owner: str) -> None:
    """Forget the beats of a worker that ends, and of those that ended without a word long ago."""
    with storage.write() as connection:
        connection.execute(
            beats.delete().where(
                (beats.c.owner == owner) | (beats.c.beat_at < now_ms() - literal(3_600_000))
            )
        )


def hold(storage: Storage, job: Job, *, progress: Mapping[str, Any] | None = None) -> None:
    """Make sure, right before a side effect, that this attempt still owns its job.

    Renews the lease, and writes `progress` where given, in the same statement: an attempt that
    ends with its process in the middle of the side effect leaves word of it. Raises `JobLost` when
    another worker may have the job: a process that was stopped for a minute must do no harm when
    it goes on.
    """
    storage.together(lambda connection: renew(connection, job, progress=progress))


def renew(connection: Connection, job: Job, *, progress: Mapping[str, Any] | None = None) -> None:
    """Do what `hold` does, within a transaction that is already open."""
    values: dict[str, Any] = {"lease_until": now_ms() + literal(LEASE_MS)}
    if progress is not None:
        values["progress"] = dict(progress)
    held = connection.execute(update(jobs).where(_mine(job)).values(values))
    if held.rowcount == 0:
        raise JobLost(f"job {job.id}: attempt {job.attempt} lost its lease")


class Finished(NamedTuple):
    """What came of recording an attempt.

    `owned` is False when the attempt had lost its job meanwhile; `change` is what it meant for the
    destination.
    """

    owned: bool
    change: Change | None


def finish(storage: Storage, job: Job, decision: Decision) -> Finished:
    """Write what became of an attempt, and how its destination fared.

    The late outcome of a lost attempt is recorded and changes no state.
    """

    def write(connection: Connection) -> Finished:
        # Before the job's place is free: the next one is claimed with this failure counted.
        change = None
        if decision.health is not None:
            change = note_health(connection, job.target, decision.health)
        return Finished(_finish(connection, job, decision), change)

    return storage.together(write)


def _finish(connection: Connection, job: Job, decision: Decision) -> bool:
    written = connection.execute(
        update(jobs).where(_mine(job)).values(_next_state(connection, job, decision))
    )
    owned = written.rowcount == 1
    connection.execute(
        insert(attempts).values(
            job=job.id,
            number=job.attempt,
            owner=job.owner,
            outcome=decision.outcome if owned else "late",
            reason=decision.reason,
            message=decision.message,
            detail=dict(decision.detail) or None,
            started_at=select(jobs.c.started_at)
            .where(jobs.c.id == job.id, jobs.c.attempts == job.attempt)
            .scalar_subquery(),
            finished_at=now_ms(),
        )
    )
    if owned and decision.state in ("succeeded", "skipped", "superseded"):
        connection.execute(messages.delete().where(messages.c.job == job.id))
    if owned and decision.state == "succeeded" and job.action == "forward":
        note_sent(connection, job)
    if owned and decision.follow_up:
        follow(connection, job, decision.follow_up)
    return owned


def _next_state(connection: Connection, job: Job, decision: Decision) -> dict[str, Any]:
    values: dict[str, Any] = {
        "state": decision.state,
        "reason": decision.reason,
        "message": decision.message,
        "failures": decision.failures,
        "losses": 0,
        "owner": null(),
        "lease_until": null(),
    }
    if decision.progress is not None:
        values["progress"] = dict(decision.progress)
    if decision.state != "waiting":
        return values | {"finished_at": now_ms()}
    if newer := _newer_waiting(connection, job):
        return values | {
            "state": "superseded",
            "reason": "newer-event",
            "superseded_by": newer,
            "finished_at": now_ms(),
        }
    return values | {"run_at": now_ms() + literal(round(decision.delay * 1000))}


def _newer_waiting(connection: Connection, job: Job) -> int | None:
    """Find the newest job that makes another try of this one pointless."""
    if job.action not in NEWEST_WINS:
        return None
    return connection.execute(
        select(jobs.c.id)
        .where(
            jobs.c.key == job.key,
            same_say(job.rule, job.args),
            in_state(jobs, "waiting"),
            jobs.c.id > job.id,
            jobs.c.version >= job.version,
        )
        .order_by(jobs.c.id.desc())
        .limit(1)
    ).scalar()


def release(storage: Storage, *, owner: str) -> int:
    """Give back what a worker that ends still holds; returns how many.

    Any worker may start them at once, and it counts as no failure.
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


def take_over(storage: Storage) -> dict[int, str]:
    """Put jobs whose lease ran out back in line; returns what became of each, by its id.

    A job that was lost `POISON_AFTER` times in a row is dead instead: it likely ends its process.
    """
    poisoned = jobs.c.losses + 1 >= POISON_AFTER
    with storage.write() as connection:
        lost = connection.execute(
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
                losses=jobs.c.losses + 1,
                run_at=now_ms(),
                lease_until=null(),
            )
            .returning(jobs.c.id, jobs.c.attempts, jobs.c.started_at, jobs.c.owner, jobs.c.state)
        ).all()
        for row in lost:
            _record(connection, [(row[0], row[1], row[2])], row[3], "lost")
        return {row.id: row.state for row in lost}


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
