"""Coalescing: which waiting jobs of one key a newer job makes pointless.

`version` is the database's time at which the job's event arrived; the id breaks ties. The dates in
an event do not count: an edition publishes a snapshot that was made days before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Text,
    and_,
    bindparam,
    func,
    literal_column,
    not_,
    or_,
    select,
    update,
)

from app.db.json_rows import among
from app.db.tables import in_state, jobs, now_ms

# Every job of these actions pulls what is published when it runs, so of several that wait for one
# key the newest is enough.
NEWEST_WINS = frozenset({"forward"})

# The `kind` in the arguments of a job that tells a destination that an item is gone.
DELETED = "deleted"


def newest_wins(job: FromClause) -> ColumnElement[bool]:
    """The condition that a job is of an action whose newest job is enough."""
    return or_(*(job.c.action == literal_column(f"'{name}'") for name in sorted(NEWEST_WINS)))


def makes_pointless(newer: FromClause, older: FromClause) -> ColumnElement[bool]:
    """The condition on two jobs of one key that the first one leaves the second nothing to do.

    Two rules can send one item in two ways, and both are wanted. An item that is gone is gone for
    every rule. A publish does not replace a deletion that waits: its content may turn out to be
    unpublished again, and the deletion reads the item again before it is sent.
    """
    is_newer = comes_after(newer, older.c.version, older.c.id)
    same_message = and_(newer.c.rule == older.c.rule, not_(_tells_deletion(older)))
    return and_(newest_wins(newer), is_newer, or_(_tells_deletion(newer), same_message))


def comes_after(job: FromClause, version: Any, identifier: Any) -> ColumnElement[bool]:
    """The condition that a job is newer than one of this version and id."""
    is_later = and_(job.c.version == version, job.c.id > identifier)
    return or_(job.c.version > version, is_later)


def is_deletion(args: Mapping[str, Any]) -> bool:
    """Whether a job with these arguments tells a destination that an item is gone."""
    return args.get("kind") == DELETED


def _tells_deletion(job: FromClause) -> ColumnElement[bool]:
    kind = job.c.args.op("->>", return_type=Text())(literal_column("'kind'"))
    return func.coalesce(kind, "") == DELETED


_newer, _older = jobs.alias("newer"), jobs.alias("older")
_PAIR = and_(_newer.c.key == _older.c.key, makes_pointless(_newer, _older))
_NEWER_WAITING = (
    select(_newer.c.id)
    .join_from(_older, _newer, _PAIR)
    .where(_older.c.id == bindparam("its_id"), in_state(_newer, "waiting"))
    .order_by(_newer.c.version.desc(), _newer.c.id.desc())
    .limit(1)
)
# A row that another transaction has locked is passed over: it is being claimed or superseded, or
# the next claim of its key supersedes it. So nothing here waits, and nothing can deadlock.
_REPLACED: Select[Any] = (
    select(
        _older.c.id,
        _older.c.run_at,
        _older.c.attempts,
        _newer.c.id.label("newer"),
        _newer.c.run_at.label("newer_run_at"),
    )
    .join_from(_newer, _older, _PAIR)
    .where(among(_newer.c.id, "ids"), in_state(_older, "waiting"))
    .order_by(_newer.c.version, _newer.c.id)
    .with_for_update(of=_older, skip_locked=True)
)
_SUPERSEDE = (
    update(jobs)
    .where(jobs.c.id == bindparam("its_id"))
    .values(
        state="superseded",
        reason="newer-event",
        superseded_by=bindparam("newer"),
        finished_at=now_ms(),
    )
)
_BRING_FORWARD = (
    update(jobs).where(jobs.c.id == bindparam("its_id")).values(run_at=bindparam("first"))
)


def newer_waiting(connection: Connection, job_id: int) -> int | None:
    """Find the newest waiting job that makes another try of this one pointless."""
    return connection.execute(_NEWER_WAITING, {"its_id": job_id}).scalar()


def supersede_older(connection: Connection, identifiers: Sequence[int]) -> None:
    """Supersede the waiting jobs that these jobs make pointless.

    A job that was never tried hands on its due time, so that events which keep coming do not put
    the first send off for ever. The later due time of a failed try is not handed on.
    """
    rows = connection.execute(_REPLACED, {"ids": list(identifiers)}).all()
    if not rows:
        return
    # In the order of the rows: of several newer jobs, the newest is named.
    newest: Mapping[int, Any] = {row.id: row for row in rows}
    connection.execute(
        _SUPERSEDE, [{"its_id": row.id, "newer": row.newer} for row in newest.values()]
    )
    first: dict[int, int] = {}
    for row in newest.values():
        if row.attempts == 0 and row.run_at < row.newer_run_at:
            first[row.newer] = min(row.run_at, first.get(row.newer, row.run_at))
    if first:
        connection.execute(
            _BRING_FORWARD, [{"its_id": newer, "first": at} for newer, at in first.items()]
        )
