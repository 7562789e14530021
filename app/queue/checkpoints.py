"""Checkpoints: small values that a command or a schedule keeps between its runs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from app.db import Storage
from app.db.tables import marks, now_ms, webhook_events


@dataclass(frozen=True)
class Checkpoint:
    """A stored value, as plain JSON, and its age in seconds."""

    value: Any
    age: float


def read_checkpoint(storage: Storage, name: str) -> Checkpoint | None:
    """Read the value of a name; raises `StorageUnavailable`."""
    with storage.read() as connection:
        row = connection.execute(
            select(marks.c.value, now_ms() - marks.c.updated_at).where(marks.c.name == name)
        ).one_or_none()
    return None if row is None else Checkpoint(row[0], row[1] / 1000)


def write_checkpoint(storage: Storage, name: str, value: Any) -> None:
    """Store `value` under a name, replacing the old one."""
    dialect = sqlite if storage.is_sqlite else postgresql
    values = {"value": value, "updated_at": now_ms()}
    with storage.write() as connection:
        connection.execute(
            dialect.insert(marks)
            .values(name=name, **values)
            .on_conflict_do_update(index_elements=["name"], set_=values)
        )


def known_event_ids(storage: Storage, hub: str, event_ids: Collection[str]) -> set[str]:
    """Return those ids that have a stored event."""
    with storage.read() as connection:
        rows = connection.execute(
            select(webhook_events.c.event_id).where(
                webhook_events.c.hub == hub, webhook_events.c.event_id.in_(event_ids)
            )
        )
        return set(rows.scalars())
