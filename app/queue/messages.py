"""Messages to destinations, kept byte for byte over all attempts of a job."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select

from app.db import Storage
from app.db.driver import run
from app.db.json_rows import clock, execute_given, given
from app.db.tables import messages
from app.errors import AppError
from app.queue.heartbeat import lost
from app.queue.job import LEASE_MS, Job

# Built once: to build a statement costs more than to run it.
_KEPT = select(messages.c.body, messages.c.content_type).where(
    messages.c.job == bindparam("its_job")
)


class _Wanted(NamedTuple):
    """A message that is about to be sent, and whether something newer prevents it."""

    job: Job
    body: bytes
    content_type: str
    unless_newer: bool


def keep_message(storage: Storage, job: Job, *, body: bytes, content_type: str) -> None:
    """Keep what is about to be sent, so that every retry sends the same bytes.

    The first message stays: a second call changes nothing. Raises `JobLost` like `renew_lease`.
    """
    _keep(storage, _Wanted(job, body, content_type, unless_newer=False))


def keep_unless_newer(storage: Storage, job: Job, *, body: bytes, content_type: str) -> bool:
    """Do the same, unless the destination has taken a newer version of the item: then False."""
    return _keep(storage, _Wanted(job, body, content_type, unless_newer=True))


def _keep(storage: Storage, wanted: _Wanted) -> bool:
    asked_at = time.monotonic()
    kept = storage.batched_write(_keep_all, wanted)
    wanted.job.lease.renewed(asked_at)
    return kept


def kept_message(storage: Storage, job: Job) -> tuple[bytes, str] | None:
    """Read the body and content type that an earlier attempt kept, if any."""
    with storage.read() as connection:
        row = connection.execute(_KEPT, {"its_job": job.id}).one_or_none()
        return None if row is None else (row[0], row[1])


def _keep_all(connection: Connection, wanted: Sequence[_Wanted]) -> list[bool | AppError]:
    """Keep each, and renew its job's lease; whether each was kept, or that its job was lost."""
    write = _write_sqlite if connection.dialect.name == "sqlite" else _write_postgresql
    kept = write(connection, wanted)
    places = ((one.job.id, one.job.attempt) for one in wanted)
    return [
        kept[place] if place in kept else lost(one.job)
        for one, place in zip(wanted, places, strict=True)
    ]


def _write_sqlite(connection: Connection, wanted: Sequence[_Wanted]) -> dict[tuple[int, int], bool]:
    rows = [{"id": one.job.id, "owner": one.job.owner, "number": one.job.attempt} for one in wanted]
    held = {(row[0], row[1]) for row in execute_given(connection, _RENEW_ON_SQLITE, rows)}
    asking = [{"id": one.job.id} for one in wanted if one.unless_newer]
    newer = execute_given(connection, _OUTDATED_ON_SQLITE, asking) if asking else ()
    outdated = {row[0] for row in newer}
    keeping = [
        (one.job.id, one.body, one.content_type)
        for one in wanted
        if (one.job.id, one.job.attempt) in held and one.job.id not in outdated
    ]
    if keeping:
        connection.exec_driver_sql(_KEEP_ON_SQLITE, keeping)
    return {(job, number): job not in outdated for job, number in held}


def _write_postgresql(
    connection: Connection, wanted: Sequence[_Wanted]
) -> dict[tuple[int, int], bool]:
    rows = [
        {
            "id": one.job.id,
            "owner": one.job.owner,
            "number": one.job.attempt,
            "content_type": one.content_type,
            "unless_newer": one.unless_newer,
        }
        for one in wanted
    ]
    told = run(connection, _KEEP_ON_POSTGRESQL, (json.dumps(rows), [one.body for one in wanted]))
    return {(job, number): kept for job, number, kept in told}


def _newer(dialect: str, job: str) -> str:
    """The condition of `newer_was_sent` on a publish, for a statement that is text."""
    now = clock(dialect)
    return (
        f"sent_items.version > {job}.version"
        f" AND (sent_items.version <= {now} OR {job}.version > {now})"
        f" AND (sent_items.rule IN ({job}.rule, '') OR sent_items.kind = 'deleted')"
    )


_RENEW_ON_SQLITE = f"""
UPDATE jobs SET lease_until = {clock("sqlite")} + {LEASE_MS}
FROM {given("sqlite", "id bigint, owner text, number integer")}
WHERE jobs.id = given.id AND jobs.owner = given.owner AND jobs.attempts = given.number
    AND jobs.state = 'running'
RETURNING jobs.id, jobs.attempts""".strip()  # noqa: S608 - our own names
# The jobs whose destination has taken something newer. Not a part of the one above: in what an
# update returns, SQLite uses no index.
_OUTDATED_ON_SQLITE = f"""
SELECT given.id FROM {given("sqlite", "id bigint")}
JOIN jobs ON jobs.id = given.id AND jobs.state = 'running'
JOIN sent_items ON sent_items.destination = jobs.target AND sent_items.hub = jobs.hub
    AND sent_items.item_id = json_extract(jobs.args, '$.item_id')
WHERE {_newer("sqlite", "jobs")}""".strip()  # noqa: S608 - our own names
_KEEP_ON_SQLITE = (
    "INSERT INTO messages (job, body, content_type, created_at)"  # noqa: S608 - our own names
    f" VALUES (?, ?, ?, {clock('sqlite')}) ON CONFLICT (job) DO NOTHING"
)
# All in one: each statement is a journey to the server, and a busy process waits after it.
_KEEP_ON_POSTGRESQL = f"""
WITH given AS MATERIALIZED (
  SELECT * FROM ROWS FROM (
    json_to_recordset(%s::json) AS (
      id bigint, owner text, number integer, content_type text, unless_newer boolean
    ),
    unnest(%b::bytea[])
  ) AS given(id, owner, number, content_type, unless_newer, body)
),
held AS (
  UPDATE jobs SET lease_until = {clock("postgresql")} + {LEASE_MS}
  FROM given
  WHERE jobs.id = given.id AND jobs.owner = given.owner AND jobs.attempts = given.number
    AND jobs.state = 'running'
  RETURNING jobs.id, given.number, jobs.target, jobs.hub, jobs.args->>'item_id' AS item_id,
    jobs.version, jobs.rule, given.unless_newer
),
outdated AS (
  SELECT held.id FROM held
  JOIN sent_items ON sent_items.destination = held.target AND sent_items.hub = held.hub
    AND sent_items.item_id = held.item_id
  WHERE held.unless_newer AND {_newer("postgresql", "held")}
),
kept AS (
  INSERT INTO messages (job, body, content_type, created_at)
  SELECT given.id, given.body, given.content_type, {clock("postgresql")}
  FROM given JOIN held USING (id, number)
  WHERE given.id NOT IN (SELECT id FROM outdated)
  ON CONFLICT (job) DO NOTHING
)
SELECT id, number, id NOT IN (SELECT id FROM outdated) FROM held""".strip()  # noqa: S608 - our own names
