"""The verbs of a job at work: beat, hold, finish, release, take over.

Every write of an attempt is fenced by its owner and number: a worker that lost its job cannot
change it any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Connection,
    Update,
    bindparam,
    case,
    insert,
    literal,
    null,
    select,
    update,
)
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


# Built once: to build a statement costs more than to run it.
_MINE = (
    (jobs.c.id == bindparam("its_id"))
    & (jobs.c.owner == bindparam("its_owner"))
    & (jobs.c.attempts == bindparam("its_attempt"))
    & in_state(jobs, "running")
)
_RENEW = update(jobs).where(_MINE).values(lease_until=now_ms() + literal(LEASE_MS))
_RENEW_WITH = _RENEW.values(progress=bindparam("its_progress"))
_ENDED = insert(attempts).values(
    {
        **{
            name: bindparam(f"its_{name}")
            for name in ("job", "number", "owner", "outcome", "reason", "message", "detail")
        },
        "started_at": select(jobs.c.started_at)
        .where(jobs.c.id == bindparam("its_job"), jobs.c.attempts == bindparam("its_number"))
        .scalar_subquery(),
        "finished_at": now_ms(),
    }
)
_FORGET_MESSAGE = messages.delete().where(messages.c.job == bindparam("its_job"))


def _mine(job: Job) -> dict[str, Any]:
    return {"its_id": job.id, "its_owner": job.owner, "its_attempt": job.attempt}


@lru_cache(maxsize=64)
def _change(values: tuple[str, ...], times: tuple[str, ...]) -> Update:
    """The statement that sets columns of an attempt's job, some of them to now and a delay."""
    given = {name: bindparam(f"its_new_{name}", type_=jobs.c[name].type) for name in values}
    moments = {name: now_ms() + bindparam(f"its_new_{name}", type_=BigInteger) for name in times}
    return update(jobs).where(_MINE).values(given | moments)


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
    if progress is None:
        held = connection.execute(_RENEW, _mine(job))
    else:
        held = connection.execute(_RENEW_WITH, {**_mine(job), "its_progress": dict(progress)})
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
    values, times = _next_state(connection, job, decision)
    new = {f"its_new_{name}": value for name, value in (values | times).items()}
    written = connection.execute(_change(tuple(values), tuple(times)), _mine(job) | new)
    owned = written.rowcount == 1
    ended = {
        "its_job": job.id,
        "its_number": job.attempt,
        "its_owner": job.owner,
        "its_outcome": decision.outcome if owned else "late",
        "its_reason": decision.reason,
        "its_message": decision.message,
        "its_detail": dict(decision.detail) or None,
    }
    connection.execute(_ENDED, ended)
    if owned and decision.state in ("succeeded", "skipped", "superseded"):
        connection.execute(_FORGET_MESSAGE, {"its_job": job.id})
    if owned and decision.state == "succeeded" and job.action == "forward":
        note_sent(connection, job)
    if owned and decision.follow_up:
        follow(connection, job, decision.follow_up)
    return owned


def _next_state(
    connection: Connection, job: Job, decision: Decision
) -> tuple[dict[str, Any], dict[str, int]]:
    """The job's new values, and its new times in milliseconds from now."""
    values: dict[str, Any] = {
        "state": decision.state,
        "reason": decision.reason,
        "message": decision.message,
        "failures": decision.failures,
        "losses": 0,
        "owner": None,
        "lease_until": None,
    }
    if decision.progress is not None:
        values["progress"] = dict(decision.progress)
    if decision.state != "waiting":
        return values, {"finished_at": 0}
    if newer := _newer_waiting(connection, job):
        place = {"state": "superseded", "reason": "newer-event", "superseded_by": newer}
        return values | place, {"finished_at": 0}
    return values, {"run_at": round(decision.delay * 1000)}


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
