"""Finish attempts: the next state of each job, its attempt, the delivered version, the breaker.

Attempts that end at the same moment are written together: a statement costs more than a row. On
PostgreSQL all of it is one statement, because each is a round trip after which a busy process
waits for its turn; SQLite has no round trips. Every write is fenced by owner and number: a worker
that lost its job cannot change it any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypedDict

from sqlalchemy import Connection

from app.db import Storage
from app.db.driver import Constant
from app.db.json_rows import among, clock, execute_given, given
from app.db.tables import messages
from app.queue.coalescing import NEWEST_WINS, newer_waiting
from app.queue.delivered_versions import Sent, sent_by
from app.queue.follow_ups import add_follow_ups, resend_newest, revive_other_items
from app.queue.job import Job
from app.queue.limits import Change, record_healths
from app.retry import Decision

_DONE = ("succeeded", "skipped", "superseded")
_LISTED = ", ".join(f"'{state}'" for state in _DONE)
_FORGET_MESSAGES = Constant(messages.delete().where(among(messages.c.job, "ids")))


class Finished(NamedTuple):
    """Result of recording an attempt.

    `owned` is False when the attempt had lost its job meanwhile; `change` is what it meant for the
    destination; `again` is the job that sends the newest version again, because this one was taken
    late.
    """

    owned: bool
    change: Change | None
    again: int | None = None


def finish(storage: Storage, job: Job, decision: Decision) -> Finished:
    """Write the outcome of an attempt, and the health of its destination.

    The late outcome of a lost attempt is recorded and changes no state of its job.
    """
    return storage.batched_write(_finish_all, (job, decision))


def _finish_all(connection: Connection, ended: Sequence[tuple[Job, Decision]]) -> list[Finished]:
    # Before the jobs' places are free: the next ones are claimed with these failures counted.
    changes = record_healths(connection, [(job.target, what.health) for job, what in ended])
    rows = [_ended(connection, job, decision) for job, decision in ended]
    moved = write_ends(connection, rows)
    owned = [(job.id, job.attempt) in moved for job, _ in ended]
    again: list[int | None] = [None] * len(ended)
    for place, ((job, decision), is_own) in enumerate(zip(ended, owned, strict=True)):
        if is_own and decision.follow_up:
            add_follow_ups(connection, job, decision.follow_up)
        elif is_own and _sent_nothing(decision):
            revive_other_items(connection, job)
        elif not is_own and _may_have_arrived(decision) and job.action in NEWEST_WINS:
            again[place] = resend_newest(connection, job)
    return [Finished(*each) for each in zip(owned, changes, again, strict=True)]


def _sent_nothing(decision: Decision) -> bool:
    """Whether the job came to its end and its destination was not asked."""
    return decision.state in ("skipped", "dead") and decision.health is None


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


class Ended(TypedDict):
    """What became of one attempt; without a `delay` (milliseconds) its job has come to its end.

    `tried` is the attempt's own reason, which need not be the job's.
    """

    id: int
    owner: str
    number: int
    state: str
    reason: str | None
    message: str | None
    failures: int
    progress: dict[str, Any] | None
    delay: int | None
    newer: int | None
    outcome: str
    tried: str | None
    detail: dict[str, Any] | None
    sent: Sent | None


_KINDS = (
    "id bigint, owner text, number integer, state text, reason text, message text, "
    "failures integer, progress json, delay bigint, newer bigint"
)
_KINDS_TRIED = "outcome text, tried text, detail json"
_KINDS_SENT = (
    "destination text, hub text, item_id text, rule text, version bigint, kind text, schema text"
)


def write_ends(connection: Connection, ended: Sequence[Ended]) -> set[tuple[int, int]]:
    """Write the outcomes; returns (id, number) of the attempts that still owned their jobs.

    What became of one that had lost its job is recorded as late, and changes nothing else.
    """
    if connection.dialect.name == "sqlite":
        return _write_sqlite(connection, ended)
    rows = [{**one, **(one["sent"] or {}), "sent": None} for one in ended]
    return {(row[0], row[1]) for row in execute_given(connection, _ALL_ON_POSTGRESQL, rows)}


def _write_sqlite(connection: Connection, ended: Sequence[Ended]) -> set[tuple[int, int]]:
    # By number as well: a late attempt may end beside the one that took its place.
    moved = {(row[0], row[1]) for row in execute_given(connection, _MOVE_ON_SQLITE, ended)}
    own = [one for one in ended if (one["id"], one["number"]) in moved]
    late = [{**one, "outcome": "late"} for one in ended if (one["id"], one["number"]) not in moved]
    execute_given(connection, _RECORD_ON_SQLITE, [*own, *late])
    if done := [one["id"] for one in own if one["state"] in _DONE]:
        _FORGET_MESSAGES.run(connection, ids=done)
    if sent := _newest([one["sent"] for one in own if one["sent"]]):
        execute_given(connection, _NOTE_ON_SQLITE, sent)
    return moved


def _newest(sent: Sequence[Sent]) -> list[Sent]:
    """The newest of each place: a statement writes a row once."""
    newest: dict[tuple[str, str, str, str], Sent] = {}
    for one in sent:
        place = (one["destination"], one["hub"], one["item_id"], one["rule"])
        if place not in newest or newest[place]["version"] <= one["version"]:
            newest[place] = one
    return list(newest.values())


def _moving(dialect: str, rows: str) -> str:
    """The statement that gives jobs their next state, where they are this worker's still."""
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
""".strip()  # noqa: S608 - our own names


_MOVE_ON_SQLITE = _moving("sqlite", given("sqlite", _KINDS)) + " RETURNING jobs.id, jobs.attempts"
_RECORD = (
    "INSERT INTO attempts"
    " (job, number, owner, outcome, reason, message, detail, started_at, finished_at)"
)
_STARTED = (
    "(SELECT jobs.started_at FROM jobs WHERE jobs.id = given.id AND jobs.attempts = given.number)"
)
_NOTE = "INSERT INTO sent_items (destination, hub, item_id, rule, version, kind, schema, sent_at)"
_UNLESS_NEWER = """
ON CONFLICT (destination, hub, item_id, rule) DO UPDATE SET
    version = excluded.version, kind = excluded.kind, schema = excluded.schema,
    sent_at = excluded.sent_at
WHERE sent_items.version <= excluded.version""".strip()


_RECORD_ON_SQLITE = f"""
{_RECORD}
SELECT id, number, owner, outcome, tried, message, detail, {_STARTED}, {clock("sqlite")}
FROM {given("sqlite", f"id bigint, owner text, number integer, message text, {_KINDS_TRIED}")}
""".strip()  # noqa: S608 - our own names
_NOTE_ON_SQLITE = f"""
{_NOTE}
SELECT destination, hub, item_id, rule, version, kind, schema, {clock("sqlite")}
FROM {given("sqlite", _KINDS_SENT)} WHERE true
{_UNLESS_NEWER}""".strip()  # noqa: S608 - our own names
# All of these in one, in which each sees the tables as they were before it. What was sent is
# written in one order for all workers: two that locked rows in different ones would wait for each
# other.
_ALL_ON_POSTGRESQL = f"""
WITH given AS MATERIALIZED (
  SELECT * FROM {given("postgresql", f"{_KINDS}, {_KINDS_TRIED}, {_KINDS_SENT}")}
),
moved AS ({_moving("postgresql", "given")} RETURNING jobs.id, given.number),
recorded AS (
  {_RECORD}
  SELECT given.id, number, owner, CASE WHEN moved.id IS NULL THEN 'late' ELSE outcome END,
    tried, message, detail, {_STARTED}, {clock("postgresql")}
  FROM given LEFT JOIN moved USING (number, id)
),
forgotten AS (
  DELETE FROM messages USING given JOIN moved USING (id, number)
  WHERE messages.job = id AND given.state IN ({_LISTED})
),
noted AS (
  {_NOTE}
  SELECT DISTINCT ON (destination, hub, item_id, rule)
    destination, hub, item_id, rule, version, kind, schema, {clock("postgresql")}
  FROM given JOIN moved USING (id, number)
  WHERE destination IS NOT NULL
  ORDER BY destination, hub, item_id, rule, version DESC, id DESC
  {_UNLESS_NEWER}
)
SELECT id, number FROM moved""".strip()  # noqa: S608 - our own names
