"""How often Amplience refused a job, counted from its attempts."""

from __future__ import annotations

from sqlalchemy import select

from app.db import Storage
from app.db.tables import attempts
from app.queue.claiming import Job
from app.retry import REFUSALS


def refusals_of(storage: Storage, job: Job) -> int:
    """Count Amplience's refusals among the failed tries of a job, since a person's last retry.

    Raises `StorageUnavailable`.
    """
    if job.failures == 0:
        return 0
    failed = (
        select(attempts.c.reason)
        .where(attempts.c.job == job.id, attempts.c.outcome == "retry")
        .order_by(attempts.c.id.desc())
        .limit(job.failures)
    )
    with storage.read() as connection:
        return sum(reason in REFUSALS for reason in connection.execute(failed).scalars())
