"""Alert: tell a destination what an operator should know.

What is to be told stands in the job. This module must not know how it was found out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from app.actions.attempt import Attempt, unknown_destination
from app.actions.forward import Sender, webhook_id
from app.config import Destination
from app.destinations.message import alert_raised
from app.retry import Outcome, Succeeded


class SendAlert:
    """The action `alert`; `destinations` by name."""

    def __init__(
        self,
        *,
        destinations: Mapping[str, Destination],
        sender: Sender,
        clock: Callable[[], float],
    ) -> None:
        self._destinations = destinations
        self._sender = sender
        self._clock = clock

    def run(self, attempt: Attempt) -> Outcome:
        """Send it; the same bytes at every try, because the job holds all that goes in."""
        job = attempt.job
        destination = self._destinations.get(job.target)
        if destination is None:
            return unknown_destination(job)
        message = alert_raised(
            job.args["slug"],
            subject=job.args["subject"],
            facts=job.args["facts"],
            timestamp=job.created_at,
            webhook_id=webhook_id(job),
        )
        attempt.hold()
        now = datetime.fromtimestamp(self._clock(), tz=UTC)
        answer = self._sender.send(destination, message, now=now)
        return Succeeded(answer.detail(), health="good")
