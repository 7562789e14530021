"""What is sent to a destination, kept byte for byte over all attempts of its job."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select

from app.errors import AppError
from app.ledger.claiming import LEASE_MS, Job
from app.ledger.given import clock, execute_given, given
from app.ledger.working import lost
from app.storage import Storage
from app.storage.tables import messages

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

    The first message stays: a second call changes nothing. Raises `JobLost` like `hold`.
    """
    storage.gather(_keep_all, _Wanted(job, body, content_type, unless_newer=False))


def keep_unless_newer(storage: Storage, job: Job, *, body: bytes, content_type: str) -> bool:
    """Do the same, unless the destination has taken a newer version of the item: then False."""
    return storage.gather(_keep_all, _Wanted(job, body, content_type, unless_newer=True))


def kept_message(storage: Storage, job: Job) -> tuple[bytes, str] | None:
    """Read the body and content type that an earlier attempt kept, if any."""
    with storage.read() as connection:
        row = connection.execute(_KEPT, {"its_job": job.id}).one_or_none()
        return None if row is None else (row[0], row[1])


def _keep_all(connection: Connection, wanted: Sequence[_Wanted]) -> list[bool | AppError]:
    rows = [{"id": one.job.id, "owner": one.job.owner, "number": one.job.attempt} for one in wanted]
    held = {(row[0], row[1]) for row in execute_given(connection, _renew, rows)}
    asking = [{"id": one.job.id} for one in wanted if one.unless_newer]
    outdated = {row[0] for row in execute_given(connection, _outdated, asking)} if asking else set()
    answers: list[bool | AppError] = []
    keeping: list[_Wanted] = []
    for one in wanted:
        if (one.job.id, one.job.attempt) not in held:
            answers.append(lost(one.job))
            continue
        wins = not (one.unless_newer and one.job.id in outdated)
        answers.append(wins)
        if wins:
            keeping.append(one)
    if keeping:
        _insert(connection, keeping)
    return answers


def _insert(connection: Connection, keeping: Sequence[_Wanted]) -> None:
    if connection.dialect.name == "sqlite":
        values: list[tuple[Any, ...]] = [
            (one.job.id, one.body, one.content_type) for one in keeping
        ]
        connection.exec_driver_sql(_KEEP_ON_SQLITE, values)
        return
    plain = [{"job": one.job.id, "content_type": one.content_type} for one in keeping]
    bodies = [one.body for one in keeping]
    connection.exec_driver_sql(_KEEP_ON_POSTGRESQL, (json.dumps(plain), bodies))


_KEEP_ON_SQLITE = (
    "INSERT INTO messages (job, body, content_type, created_at)"  # noqa: S608 - our own names
    f" VALUES (?, ?, ?, {clock('sqlite')}) ON CONFLICT (job) DO NOTHING"
)
_KEEP_ON_POSTGRESQL = f"""
INSERT INTO messages (job, body, content_type, created_at)
SELECT job, body, content_type, {clock("postgresql")}
FROM ROWS FROM (
    json_to_recordset(%s::json) AS (job bigint, content_type text), unnest(%b::bytea[])
) AS given(job, content_type, body)
ON CONFLICT (job) DO NOTHING""".strip()  # noqa: S608 - our own names


@lru_cache(maxsize=2)
def _renew(dialect: str) -> str:
    """The statement that renews leases, and names those that were there to renew."""
    return f"""
UPDATE jobs SET lease_until = {clock(dialect)} + {LEASE_MS}
FROM {given(dialect, "id bigint, owner text, number integer")}
WHERE jobs.id = given.id AND jobs.owner = given.owner AND jobs.attempts = given.number
    AND jobs.state = 'running'
RETURNING jobs.id, jobs.attempts""".strip()  # noqa: S608 - our own names


@lru_cache(maxsize=2)
def _outdated(dialect: str) -> str:
    """The statement that names the jobs whose destination has taken something newer.

    Not a part of `_renew`: in what an update returns, SQLite uses no index.
    """
    item = (
        "json_extract(jobs.args, '$.item_id')" if dialect == "sqlite" else "jobs.args->>'item_id'"
    )
    return f"""
SELECT given.id FROM {given(dialect, "id bigint")}
JOIN jobs ON jobs.id = given.id AND jobs.state = 'running'
JOIN sent_items ON sent_items.destination = jobs.target AND sent_items.hub = jobs.hub
    AND sent_items.item_id = {item}
WHERE sent_items.version > jobs.version""".strip()  # noqa: S608 - our own names
