"""What each destination was last sent of each item: the guard of the order.

A job that waited, was retried, replayed or taken over may find that something newer went out
meanwhile; it must not undo that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Table, bindparam, exists, select
from sqlalchemy.dialects import postgresql, sqlite

from app.ledger.claiming import Job
from app.storage import Storage
from app.storage.tables import now_ms, sent_items


def _noting(insert: Callable[[Table], Any]) -> Any:
    values = {
        "version": bindparam("its_version"),
        "kind": bindparam("its_kind"),
        "schema": bindparam("its_schema"),
        "sent_at": now_ms(),
    }
    return (
        insert(sent_items)
        .values(
            destination=bindparam("its_destination"),
            hub=bindparam("its_hub"),
            item_id=bindparam("its_item"),
            **values,
        )
        .on_conflict_do_update(
            index_elements=["destination", "hub", "item_id"],
            set_=values,
            where=sent_items.c.version <= bindparam("its_version"),
        )
    )


# Built once: to build a statement costs more than to run it.
_NOTE = {"sqlite": _noting(sqlite.insert), "postgresql": _noting(postgresql.insert)}
_NEWER = select(
    exists().where(
        sent_items.c.destination == bindparam("its_destination"),
        sent_items.c.hub == bindparam("its_hub"),
        sent_items.c.item_id == bindparam("its_item"),
        sent_items.c.version > bindparam("its_version"),
    )
)


def note_sent(connection: Connection, job: Job) -> None:
    """Remember that the job's version of its item was taken by its destination."""
    more = {"its_kind": job.args.get("kind", "published"), "its_schema": job.schema}
    connection.execute(_NOTE[connection.dialect.name], {**_of(job), **more})


def newer_was_sent(storage: Storage, job: Job) -> bool:
    """Tell whether the job's destination has taken a newer version of its item."""
    with storage.read() as connection:
        return bool(connection.execute(_NEWER, _of(job)).scalar())


def _of(job: Job) -> dict[str, Any]:
    return {
        "its_destination": job.target,
        "its_hub": job.hub,
        "its_item": job.args["item_id"],
        "its_version": job.version,
    }
