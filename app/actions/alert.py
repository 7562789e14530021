"""Alert: tell a destination what an operator should know.

What is to be told stands in the job.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from app.actions.attempt import Attempt
from app.actions.forward import Sender, webhook_id
from app.config import Destination
from app.destinations.message import alert_raised
from app.retry import Outcome, Succeeded


class SendAlert:
    """The action `alert`."""

    def __init__(self, *, sender: Sender, clock: Callable[[], float]) -> None:
        self._sender = sender
        self._clock = clock

    def run(self, attempt: Attempt, destination: Destination) -> Outcome:
        """Send it; the same bytes at every try, because the job holds all that goes in."""
        job = attempt.job
        message = alert_raised(job.args, timestamp=job.created_at, webhook_id=webhook_id(job))
        attempt.hold()
        now = datetime.fromtimestamp(self._clock(), tz=UTC)
        answer = self._sender.send(destination, message, now=now)
        return Succeeded(answer.detail(), health="good")
