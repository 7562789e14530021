"""The lease of a job: how long a worker may think that a job is its own."""

from __future__ import annotations

import time

from app.errors import LeaseTooOld

# Another worker takes a job over when its owner has not beaten for this long. Four beats fit in.
LEASE_MS = 10_000
# An older lease is not acted on: what is sent now may arrive after the lease has run out.
OLDEST_LEASE = 8.0


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
