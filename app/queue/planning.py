"""What the rules of today make of an event that is in the ledger: where a replay starts.

Nothing is written here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from app.config import Settings
from app.errors import VerbRefused, WebhookRejected
from app.events import WebhookEvent, without_future_dates
from app.queue.records import StoredEvent
from app.rules import Plan, match
from app.schemas import load_event


def reread(stored: StoredEvent) -> WebhookEvent:
    """Read a stored body once more; raises `VerbRefused` (`event-unreadable`).

    A date that was in the future when the event came is as unknown as it was then.
    """
    received_at = stored.received_at or datetime.min.replace(tzinfo=UTC)
    try:
        event, _ = without_future_dates(load_event(stored.body, hub=stored.hub), received_at)
        return event
    except WebhookRejected as error:
        # A command or a schedule may make events without a webhook's body.
        text = f"The body of event {stored.id} is no webhook that rules can be asked about."
        raise VerbRefused("event-unreadable", text) from error


def planner(settings: Settings) -> Callable[[StoredEvent], Sequence[Plan]]:
    """Make the function that plans replays by these settings; it raises as `reread` does."""

    def plan(stored: StoredEvent) -> Sequence[Plan]:
        return match(reread(stored), settings.rules, settings.destinations)

    return plan
