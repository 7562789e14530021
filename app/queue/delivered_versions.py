"""Delivered versions: the version of each item that each destination was last sent.

A job that waited, was retried, replayed or reclaimed may find that a newer version was sent
meanwhile; it must not undo that.
"""

from __future__ import annotations

from typing import TypedDict

from sqlalchemy import BigInteger, ColumnElement, Text, bindparam, exists, or_, select

from app.db import Storage
from app.db.tables import now_ms, sent_items
from app.queue.coalescing import DELETED
from app.queue.job import Job


class Sent(TypedDict):
    """What a destination took of an item, at which version."""

    destination: str
    hub: str
    item_id: str
    rule: str
    version: int
    kind: str
    schema: str | None


def is_newer(sent: ColumnElement[int], version: ColumnElement[int]) -> ColumnElement[bool]:
    """The condition that a version which was sent is newer than another one.

    One from the future is not: the database's clock was set back since, and until it has caught up
    everything that is published would be taken for older. Two from the future still compare.
    """
    return (sent > version) & or_(sent <= now_ms(), version > now_ms())


# Built once: to build a statement costs more than to run it.
_NEWER = select(
    exists().where(
        sent_items.c.destination == bindparam("destination"),
        sent_items.c.hub == bindparam("hub"),
        sent_items.c.item_id == bindparam("item_id"),
        is_newer(sent_items.c.version, bindparam("version", type_=BigInteger)),
        # Two rules send one item in two ways, and both are wanted; a deletion is one for all rules.
        or_(
            sent_items.c.rule.in_((bindparam("rule", type_=Text), "")),
            sent_items.c.kind == DELETED,
            bindparam("kind", type_=Text) == DELETED,
        ),
    )
)


def forget_sent(storage: Storage, *, destination: str, item_id: str) -> int:
    """Forget what a destination was sent of an item, in every hub; returns how much that was.

    The next job for it is sent, whatever its version, and a resync does not remove the item.
    """
    with storage.write() as connection:
        return connection.execute(
            sent_items.delete().where(
                sent_items.c.destination == destination, sent_items.c.item_id == item_id
            )
        ).rowcount


def newer_was_sent(storage: Storage, job: Job) -> bool:
    """Tell whether the job's destination has taken a newer version of its item by the same rule."""
    with storage.read() as connection:
        return bool(connection.execute(_NEWER, sent_by(job)).scalar())


def sent_by(job: Job) -> Sent:
    """What a job that was sent leaves to be remembered: its version of its item was taken."""
    return {
        "destination": job.target,
        "hub": job.hub,
        "item_id": job.args["item_id"],
        "rule": job.rule,
        "version": job.version,
        "kind": job.args.get("kind", "published"),
        "schema": job.schema,
    }
