"""A claimed job as its worker sees it, and its lease: how long the worker may rely on owning it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select

from app.db import Storage
from app.db.tables import attempts
from app.errors import LeaseTooOld
from app.retry import REFUSALS

# Another worker reclaims a job when its owner's heartbeat is older. Four heartbeats fit in.
LEASE_MS = 10_000
# An older lease is not acted on: what is sent now may arrive after the lease has run out.
OLDEST_LEASE = 8.0
# A job that was lost this often with its process may be what ended it.
SUSPECT_AFTER = 2


class Lease:
    """How long ago this process renewed an attempt's lease, by its monotonic clock.

    That clock goes on while the process is stopped. What counts is when the database was asked, not
    when it answered: a process may be stopped in between.
    """

    def __init__(self, asked_at: float | None = None) -> None:
        self._asked_at = time.monotonic() if asked_at is None else asked_at

    def renewed(self, asked_at: float) -> None:
        """Note that the lease was renewed by a statement that was sent after `asked_at`."""
        self._asked_at = max(self._asked_at, asked_at)

    def check(self) -> None:
        """Call this right before the first byte of a side effect; raises `LeaseTooOld`."""
        age = time.monotonic() - self._asked_at
        if age > OLDEST_LEASE:
            raise LeaseTooOld(f"the lease was renewed {age:.1f} s ago: nothing is sent")


@dataclass(frozen=True)
class Job:
    """One claimed job with what its action needs to know of the event.

    `attempt` is the number of this try, counted in the ledger before anything is done. `failures`
    counts earlier failed tries, `losses` those that ended with their process. `progress` is what
    an earlier attempt left.
    """

    id: int
    owner: str
    attempt: int
    failures: int
    hub: str
    rule: str
    action: str
    target: str
    queue: str
    key: str
    version: int
    args: Mapping[str, Any]
    progress: Mapping[str, Any]
    created_at: datetime
    event_id: str
    event_name: str
    request_id: str | None
    item_id: str | None
    snapshot_id: str | None
    snapshot_created: datetime | None
    schema: str | None
    label: str | None
    locale: str | None
    received_at: datetime
    losses: int = 0
    trace: str | None = None
    lease: Lease = field(default_factory=Lease, compare=False, repr=False)

    @property
    def is_suspect(self) -> bool:
        """Whether it may be what ended the processes that it was lost with."""
        return self.losses >= SUSPECT_AFTER


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
