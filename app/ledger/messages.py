"""What is sent to a destination, kept byte for byte over all attempts of its job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Table, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from app.ledger.claiming import Job
from app.ledger.working import renew
from app.storage import Storage
from app.storage.tables import messages, now_ms


def _keeping(insert: Callable[[Table], Any]) -> Any:
    values: dict[str, Any] = {
        name: bindparam(f"its_{name}") for name in ("job", "body", "content_type")
    }
    return (
        insert(messages)
        .values(**values, created_at=now_ms())
        .on_conflict_do_nothing(index_elements=["job"])
    )


# Built once: to build a statement costs more than to run it.
_KEEP = {"sqlite": _keeping(sqlite.insert), "postgresql": _keeping(postgresql.insert)}
_KEPT = select(messages.c.body, messages.c.content_type).where(
    messages.c.job == bindparam("its_job")
)


def keep_message(storage: Storage, job: Job, *, body: bytes, content_type: str) -> None:
    """Keep what is about to be sent, so that every retry sends the same bytes.

    The first message stays: a second call changes nothing. Raises `JobLost` like `hold`.
    """
    values = {"its_job": job.id, "its_body": body, "its_content_type": content_type}

    def keep(connection: Connection) -> None:
        renew(connection, job)
        connection.execute(_KEEP[connection.dialect.name], values)

    storage.together(keep)


def kept_message(storage: Storage, job: Job) -> tuple[bytes, str] | None:
    """Read the body and content type that an earlier attempt kept, if any."""
    with storage.read() as connection:
        row = connection.execute(_KEPT, {"its_job": job.id}).one_or_none()
        return None if row is None else (row[0], row[1])
