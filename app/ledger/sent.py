"""What each destination was last sent of each item: the guard of the order.

A job that waited, was retried, replayed or taken over may find that something newer went out
meanwhile; it must not undo that.
"""

from __future__ import annotations

from sqlalchemy import Connection, exists, select
from sqlalchemy.dialects import postgresql, sqlite

from app.ledger.claiming import Job
from app.storage import Storage
from app.storage.tables import now_ms, sent_items


def note_sent(connection: Connection, job: Job) -> None:
    """Remember that the job's version of its item was taken by its destination."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    values = {
        "version": job.version,
        "kind": job.args.get("kind", "published"),
        "schema": job.schema,
        "sent_at": now_ms(),
    }
    connection.execute(
        dialect.insert(sent_items)
        .values(
            destination=job.target,
            hub=job.hub,
            item_id=job.args["item_id"],
            **values,
        )
        .on_conflict_do_update(
            index_elements=["destination", "hub", "item_id"],
            set_=values,
            where=sent_items.c.version <= job.version,
        )
    )


def newer_was_sent(storage: Storage, job: Job) -> bool:
    """Tell whether the job's destination has taken a newer version of its item."""
    with storage.read() as connection:
        return bool(
            connection.execute(
                select(
                    exists().where(
                        sent_items.c.destination == job.target,
                        sent_items.c.hub == job.hub,
                        sent_items.c.item_id == job.args["item_id"],
                        sent_items.c.version > job.version,
                    )
                )
            ).scalar()
        )
