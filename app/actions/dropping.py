"""Tell a destination that an item is gone: the second half of an unpublish.

The item is read again right before each send, also before a retry days later: what was published
again meanwhile must not be dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Protocol

from app.actions.attempt import Attempt, Sending
from app.actions.forward import Sender, webhook_id
from app.amplience.publishing import PUBLISHED
from app.config import Destination
from app.destinations.message import ItemFacts, Message, Origin, content_deleted
from app.errors import NotFound
from app.events import ContentItem
from app.queue import Job
from app.queue.coalescing import is_deletion
from app.retry import Failed, Outcome, Skipped, Succeeded, Superseded


class ReadingClient(Protocol):
    """What this action needs of the Management API."""

    def content_item(self, item_id: str) -> ContentItem: ...  # noqa: D102 - as ManagementClient


class ForwardOrDrop:
    """The action `forward`: what is published is sent by `forward`, what is gone by `drop`."""

    def __init__(self, *, forward: Sending, drop: Sending) -> None:
        self._forward = forward
        self._drop = drop

    def run(self, attempt: Attempt, destination: Destination) -> Outcome:
        """Run the one that the job is for."""
        is_gone = is_deletion(attempt.job.args)
        return (self._drop if is_gone else self._forward).run(attempt, destination)


class Drop:
    """The jobs of `forward` whose `kind` is `deleted`; `clients` by our hub keys."""

    def __init__(
        self,
        *,
        clients: Mapping[str, ReadingClient],
        sender: Sender,
        clock: Callable[[], float],
    ) -> None:
        self._clients = clients
        self._sender = sender
        self._clock = clock

    def run(self, attempt: Attempt, destination: Destination) -> Outcome:
        """Look whether the item is gone still, and send that it is."""
        job = attempt.job
        client = self._clients.get(job.hub)
        if client is None:
            return Failed("unknown-hub", f"hub {job.hub!r} has no credentials", transient=False)
        if _published_again(client, job.args["item_id"]):
            return Skipped("published-again")
        if attempt.newer_was_sent():
            return Superseded("newer-sent")
        kept = attempt.kept_message()
        if kept is None:
            message = self._message(job)
            attempt.keep_message(body=message.body, content_type=message.content_type)
        else:
            message = Message(*kept, webhook_id=webhook_id(job))
            attempt.hold()
        return self._send(destination, message)

    def _send(self, destination: Destination, message: Message) -> Outcome:
        answer = self._sender.send(destination, message, now=self._now())
        detail = {"deleted": True, "webhook_id": message.webhook_id, **answer.detail()}
        return Succeeded(detail, health="good")

    def _message(self, job: Job) -> Message:
        return content_deleted(
            Origin(
                hub=job.hub,
                event_id=job.event_id,
                event_name=job.event_name,
                request_id=job.request_id,
            ),
            ItemFacts(
                id=job.args["item_id"],
                delivery_key=job.args.get("delivery_key"),
                schema=job.schema,
                label=job.label,
                locale=job.locale,
            ),
            timestamp=self._now(),
            webhook_id=webhook_id(job),
        )

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), tz=UTC)


def _published_again(client: ReadingClient, item_id: str) -> bool:
    try:
        item = client.content_item(item_id)
    except NotFound as error:
        if error.refusing:
            raise
        return False
    return item.status == "ACTIVE" and item.publishing_status in PUBLISHED
