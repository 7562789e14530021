"""What is sent to a destination, kept byte for byte over all attempts of its job."""

from __future__ import annotations

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from app.ledger.claiming import Job
from app.ledger.working import renew
from app.storage import Storage
from app.storage.tables import messages, now_ms


def keep_message(storage: Storage, job: Job, *, body: bytes, content_type: str) -> None:
    """Keep what is about to be sent, so that every retry sends the same bytes.

    The first message stays: a second call changes nothing. Raises `JobLost` like `hold`.
    """
    dialect = sqlite if storage.is_sqlite else postgresql

    def keep(connection: Connection) -> None:
        renew(connection, job)
        connection.execute(
            dialect.insert(messages)
            .values(job=job.id, body=body, content_type=content_type, created_at=now_ms())
            .on_conflict_do_nothing(index_elements=["job"])
        )

    storage.together(keep)


def kept_message(storage: Storage, job: Job) -> tuple[bytes, str] | None:
    """Read the body and content type that an earlier attempt kept, if any."""
    with storage.read() as connection:
        row = connection.execute(
            select(messages.c.body, messages.c.content_type).where(messages.c.job == job.id)
        ).one_or_none()
        return None if row is None else (row[0], row[1])
