"""The parts of one sandbox, joined.

Knows which parts there are and the order in which they end; HTTP is in `server`.
"""

import time

from sandbox.content import Content
from sandbox.faults import Faults
from sandbox.options import SandboxOptions
from sandbox.scheduler import Scheduler
from sandbox.state import State
from sandbox.webhooks import WebhookSender


class Core:
    """What every route of the sandbox works with."""

    def __init__(self, options: SandboxOptions) -> None:
        self.state = State(options)
        self.scheduler = Scheduler()
        self.sender = WebhookSender(self.state, self.scheduler)
        self.content = Content(self.state, self.scheduler, self.sender)
        self.faults = Faults()

    @property
    def busy(self) -> bool:
        """Whether a task, a webhook or a retry is still to come."""
        # A task may queue a webhook and a failed webhook a retry, so look twice at the tasks.
        return self.scheduler.busy or self.sender.busy or self.scheduler.busy

    def settle(self, timeout: float) -> bool:
        """Wait until nothing is to come; tell whether that was reached in time."""
        deadline = time.monotonic() + timeout
        while self.busy:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True

    def reset(self) -> None:
        """Forget everything that happened; options, address and threads stay."""
        self.scheduler.clear()
        self.sender.clear()
        self.faults.clear()
        self.state.reset()

    def close(self) -> None:
        """End every thread."""
        self.faults.close()
        self.scheduler.close()
        self.sender.close()
