"""The verb *finish*: what became of attempts, and of the jobs that they were of.

The attempts that end at the same moment are written together: a statement costs more than a row.
Every write is fenced by owner and number: a worker that lost its job cannot change it any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from app.db import Storage
from app.queue.claiming import Job
from app.queue.coalescing import NEWEST_WINS, newer_waiting
from app.queue.ending import Ended, write_ends
from app.queue.following import follow, send_newest_again
from app.queue.pacing import Change, note_healths
from app.queue.sent import sent_by
from app.retry import Decision


class Finished(NamedTuple):
    """What came of recording an attempt.

    `owned` is False when the attempt had lost its job meanwhile; `change` is what it meant for the
    destination; `again` is the job that sends the newest version again, because this one was taken
    late.
    """

    owned: bool
    change: Change | None
    again: int | None = None


def finish(storage: Storage, job: Job, decision: Decision) -> Finished:
    """Write what became of an attempt, and how its destination fared.

    The late outcome of a lost attempt is recorded and changes no state of its job.
    """
    return storage.gather(_finish_all, (job, decision))


def _finish_all(connection: Connection, ended: Sequence[tuple[Job, Decision]]) -> list[Finished]:
    # Before the jobs' places are free: the next ones are claimed with these failures counted.
    changes = note_healths(connection, [(job.target, what.health) for job, what in ended])
    rows = [_ended(connection, job, decision) for job, decision in ended]
    moved = write_ends(connection, rows)
    owned = [(job.id, job.attempt) in moved for job, _ in ended]
    again: list[int | None] = [None] * len(ended)
    for place, ((job, decision), is_own) in enumerate(zip(ended, owned, strict=True)):
        if is_own and decision.follow_up:
            follow(connection, job, decision.follow_up)
        elif not is_own and _may_have_arrived(decision) and job.action in NEWEST_WINS:
            again[place] = send_newest_again(connection, job)
    return [Finished(*each) for each in zip(owned, changes, again, strict=True)]


def _may_have_arrived(decision: Decision) -> bool:
    """Whether the destination may have taken what was sent: it did, or gave no good answer.

    A worker that stood still for longer than a destination's timeout does not wait for its answer.
    """
    return decision.state == "succeeded" or decision.health == "bad"


def _ended(connection: Connection, job: Job, decision: Decision) -> Ended:
    row: Ended = {
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
        "outcome": decision.outcome,
        "tried": decision.reason,
        "detail": dict(decision.detail) or None,
        "sent": None,
    }
    if decision.state == "succeeded" and job.action == "forward":
        row["sent"] = sent_by(job)
    if decision.state != "waiting":
        return row
    if newer := newer_waiting(connection, job.id):
        return {**row, "state": "superseded", "reason": "newer-event", "newer": newer}
    return {**row, "delay": round(decision.delay * 1000)}
