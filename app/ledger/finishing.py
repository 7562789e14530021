"""The verb *finish*: what became of attempts, and of the jobs that they were of.

The attempts that end at the same moment are written together: a statement costs more than a row.
Every write is fenced by owner and number: a worker that lost its job cannot change it any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Connection

from app.ledger.claiming import Job
from app.ledger.following import follow
from app.ledger.given import clock, execute_given, given
from app.ledger.pacing import Change, note_healths
from app.ledger.precedence import newer_waiting
from app.ledger.rows import among
from app.ledger.sent import note_sent
from app.retry import Decision
from app.storage import Storage
from app.storage.driver import Constant
from app.storage.tables import messages

_DONE = ("succeeded", "skipped", "superseded")
_FORGET_MESSAGES = Constant(messages.delete().where(among(messages.c.job, "ids")))


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
    return storage.gather(_finish_all, (job, decision))


def _finish_all(connection: Connection, ended: Sequence[tuple[Job, Decision]]) -> list[Finished]:
    # Before the jobs' places are free: the next ones are claimed with these failures counted.
    changes = note_healths(connection, [(job.target, what.health) for job, what in ended])
    rows = [_next_state(connection, job, decision) for job, decision in ended]
    # By number as well: a late attempt may end beside the one that took its place.
    moved = {(row[0], row[1]) for row in execute_given(connection, _move, rows)}
    owned = [(job.id, job.attempt) in moved for job, _ in ended]
    tries = [_attempt(*one, owned=is_own) for one, is_own in zip(ended, owned, strict=True)]
    execute_given(connection, _record, tries)
    own = [one for one, is_own in zip(ended, owned, strict=True) if is_own]
    if done := [job.id for job, decision in own if decision.state in _DONE]:
        _FORGET_MESSAGES.run(connection, ids=done)
    note_sent(
        connection,
        [job for job, what in own if what.state == "succeeded" and job.action == "forward"],
    )
    for job, decision in own:
        if decision.follow_up:
            follow(connection, job, decision.follow_up)
    return [Finished(*each) for each in zip(owned, changes, strict=True)]


@lru_cache(maxsize=2)
def _move(dialect: str) -> str:
    """The statement that gives jobs their next state, where they are this worker's still."""
    rows = given(
        dialect,
        "id bigint, owner text, number integer, state text, reason text, message text, "
        "failures integer, progress json, delay bigint, newer bigint",
    )
    now = clock(dialect)
    return f"""
UPDATE jobs SET
    state = given.state, reason = given.reason, message = given.message,
    failures = given.failures, losses = 0, owner = NULL, lease_until = NULL,
    progress = coalesce(given.progress, jobs.progress),
    superseded_by = coalesce(given.newer, jobs.superseded_by),
    run_at = CASE WHEN given.delay IS NULL THEN jobs.run_at ELSE {now} + given.delay END,
    finished_at = CASE WHEN given.delay IS NULL THEN {now} ELSE jobs.finished_at END
FROM {rows}
WHERE jobs.id = given.id AND jobs.owner = given.owner AND jobs.attempts = given.number
    AND jobs.state = 'running'
RETURNING jobs.id, jobs.attempts""".strip()  # noqa: S608 - our own names


@lru_cache(maxsize=2)
def _record(dialect: str) -> str:
    """The statement that writes attempts down."""
    rows = given(
        dialect,
        "job bigint, number integer, owner text, outcome text, reason text, message text, "
        "detail json",
    )
    return f"""
INSERT INTO attempts
    (job, number, owner, outcome, reason, message, detail, started_at, finished_at)
SELECT job, number, owner, outcome, reason, message, detail,
    (SELECT jobs.started_at FROM jobs
     WHERE jobs.id = given.job AND jobs.attempts = given.number),
    {clock(dialect)}
FROM {rows}""".strip()  # noqa: S608 - our own names


def _next_state(connection: Connection, job: Job, decision: Decision) -> dict[str, Any]:
    """A row of `_move`: without a delay the job has come to its end."""
    row = {
        "id": job.id,
        "owner": job.owner,
        "number": job.attempt,
        "state": decision.state,
        "reason": decision.reason,
        "message": decision.message,
        "failures": decision.failures,
        "progress": None if decision.progress is None else dict(decision.progress),
        "delay": None,
        "newer": None,
    }
    if decision.state != "waiting":
        return row
    if newer := newer_waiting(connection, job):
        return row | {"state": "superseded", "reason": "newer-event", "newer": newer}
    return row | {"delay": round(decision.delay * 1000)}


def _attempt(job: Job, decision: Decision, *, owned: bool) -> dict[str, Any]:
    return {
        "job": job.id,
        "number": job.attempt,
        "owner": job.owner,
        "outcome": decision.outcome if owned else "late",
        "reason": decision.reason,
        "message": decision.message,
        "detail": dict(decision.detail) or None,
    }
