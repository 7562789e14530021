"""What each destination was last sent of each item: the guard of the order.

A job that waited, was retried, replayed or taken over may find that something newer went out
meanwhile; it must not undo that.
"""

from __future__ import annotations

from sqlalchemy import bindparam, exists, select

from app.ledger.claiming import Job
from app.ledger.ending import Sent
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


def newer_was_sent(storage: Storage, job: Job) -> bool:
    """Tell whether the job's destination has taken a newer version of its item."""
    with storage.read() as connection:
        return bool(connection.execute(_NEWER, sent_by(job)).scalar())


def sent_by(job: Job) -> Sent:
    """What a job that was sent leaves to be remembered: its version of its item was taken."""
    return {
        "destination": job.target,
        "hub": job.hub,
        "item_id": job.args["item_id"],
        "version": job.version,
        "kind": job.args.get("kind", "published"),
        "schema": job.schema,
    }
