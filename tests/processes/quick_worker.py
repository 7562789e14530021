"""A worker for tests, started as a process: the real one, with a lease of seconds.

`LEASE_MS` sets the lease. `POISON` names an item whose attempt ends the process, as a fault in a
library could.
"""

from __future__ import annotations

import os
import sys
import time
from functools import partial

from app import bootstrap
from app.actions import Attempt
from app.actions.forward import Forward
from app.cli import main
from app.config import Destination
from app.retry import Outcome
from app.worker import WorkerOptions

POISONED = 86


class PoisonedForward(Forward):
    """Forwards, but for one item."""

    def run(self, attempt: Attempt, destination: Destination) -> Outcome:
        if attempt.job.item_id == os.environ["POISON"]:
            time.sleep(0.6)  # so that what was claimed with it is done before
            os._exit(POISONED)
        return super().run(attempt, destination)


if __name__ == "__main__":
    lease = int(os.environ["LEASE_MS"])
    for module in ("app.queue.claim", "app.queue.heartbeat"):
        vars(sys.modules[module])["LEASE_MS"] = lease
    vars(bootstrap)["WorkerOptions"] = partial(WorkerOptions, beat_every=lease / 4000)
    if "POISON" in os.environ:
        vars(bootstrap)["Forward"] = PoisonedForward
    main(["worker"])
