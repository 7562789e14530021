"""What each destination was last sent of each item: the guard of the order.

A job that waited, was retried, replayed or taken over may find that something newer went out
meanwhile; it must not undo that.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, bindparam, exists, select

from app.ledger.claiming import Job
from app.ledger.given import clock, execute_given, given
from app.storage import Storage
from app.storage.tables import sent_items

# Built once: to build a statement costs more than to run it.
_NEWER = select(
    exists().where(
        sent_items.c.destination == bindparam("destination"),
        sent_items.c.hub == bindparam("hub"),
        sent_items.c.item_id == bindparam("item_id"),
        sent_items.c.version > bindparam("version"),
    )
)


def note_sent(connection: Connection, sent: Sequence[Job]) -> None:
    """Remember that these jobs' versions of their items were taken by their destinations."""
    newest: dict[tuple[str, str, str], dict[str, Any]] = {}
    for job in sent:
        row = _row(job)
        place = (row["destination"], row["hub"], row["item_id"])
        # A statement writes a row once.
        if place not in newest or newest[place]["version"] <= row["version"]:
            newest[place] = row
    if newest:
        # In one order for all workers: two that locked rows in different ones would wait for each
        # other.
        execute_given(connection, _note, [newest[place] for place in sorted(newest)])


@lru_cache(maxsize=2)
def _note(dialect: str) -> str:
    """The statement that writes what was sent, unless something newer was."""
    rows = given(
        dialect,
        "destination text, hub text, item_id text, version bigint, kind text, schema text",
    )
    return f"""
INSERT INTO sent_items (destination, hub, item_id, version, kind, schema, sent_at)
SELECT destination, hub, item_id, version, kind, schema, {clock(dialect)} FROM {rows} WHERE true
ON CONFLICT (destination, hub, item_id) DO UPDATE SET
    version = excluded.version, kind = excluded.kind, schema = excluded.schema,
    sent_at = excluded.sent_at
WHERE sent_items.version <= excluded.version""".strip()  # noqa: S608 - our own names


def newer_was_sent(storage: Storage, job: Job) -> bool:
    """Tell whether the job's destination has taken a newer version of its item."""
    with storage.read() as connection:
        return bool(connection.execute(_NEWER, _row(job)).scalar())


def _row(job: Job) -> dict[str, Any]:
    return {
        "destination": job.target,
        "hub": job.hub,
        "item_id": job.args["item_id"],
        "version": job.version,
        "kind": job.args.get("kind", "published"),
        "schema": job.schema,
    }
