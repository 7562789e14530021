"""Forward: pull the published content of an item and send it to one destination.

What is sent is kept before it is sent, so that every retry sends the same bytes under the same
`webhook-id`; a newer publish of the item makes a job of its own and takes the place of a waiting
retry. Content is pulled after the webhook, and Content Delivery 2 may not have it yet: a 404 right
after a publish means "not yet", not "deleted".
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from app.actions.attempt import Attempt
from app.amplience.delivery import ContentParameters, DeliveredContent
from app.config import Destination
from app.destinations.message import ItemFacts, Message, Origin, Published, content_published
from app.destinations.sending import Answer
from app.errors import NotFound
from app.ledger import Job
from app.retry import Failed, LookAgain, Outcome, Succeeded

# Any fixed number will do, as long as it never changes: ids are derived from it.
_NAMESPACE = uuid.UUID("6f1f6a3e-2c5b-5c0e-9a53-0b6e2a9e7c11")


class ContentSource(Protocol):
    """Where published content is pulled from; see `ContentLoader`."""

    def load(self, item_id: str, parameters: ContentParameters) -> DeliveredContent:
        """Pull one item; raises `NotFound` when it is not published."""
        ...


class Sender(Protocol):
    """Sends a message once; see `DestinationClient`."""

    def send(self, destination: Destination, message: Message, *, now: datetime) -> Answer:
        """Send it; raises `DestinationError` unless it was taken."""
        ...


@dataclass(frozen=True)
class HubContent:
    """The published content of one hub: where from, and which kind of source that is."""

    source: ContentSource
    kind: str


@dataclass(frozen=True)
class ForwardTiming:
    """How patient the action is, in seconds, with content that is not there yet."""

    looks: tuple[float, ...] = (0.5, 1, 2, 5, 10, 30, 60)
    appear_within: float = 900.0

    def pause(self, looks: int) -> float:
        """The pause after the given number of looks."""
        return self.looks[min(looks, len(self.looks) - 1)]


def webhook_id(job: Job) -> str:
    """Name a job's message: the same over all its attempts, and no other job's.

    Derived from the event as well as the job, so that a new database that counts its jobs from 1
    again does not repeat what receivers remember.
    """
    return f"msg_{uuid.uuid5(_NAMESPACE, f'{job.hub}/{job.event_id}/{job.id}').hex}"


class Forward:
    """The action `forward`; `hubs` by our hub keys, `destinations` by name."""

    def __init__(
        self,
        *,
        hubs: Mapping[str, HubContent],
        destinations: Mapping[str, Destination],
        sender: Sender,
        clock: Callable[[], float],
        timing: ForwardTiming | None = None,
    ) -> None:
        self._hubs = hubs
        self._destinations = destinations
        self._sender = sender
        self._clock = clock
        self._timing = timing or ForwardTiming()

    def run(self, attempt: Attempt) -> Outcome:
        """Pull, keep, send; after a failed send, only send."""
        job = attempt.job
        destination = self._destinations.get(job.target)
        if destination is None:
            text = f"no destination is called {job.target!r}; add it and retry, or cancel the job"
            return Failed("unknown-destination", text, transient=False)
        kept = attempt.kept_message()
        if kept is not None:
            attempt.hold()
            body, content_type = kept
            return self._send(destination, Message(body, content_type, webhook_id(job)))
        hub = self._hubs.get(job.hub)
        if hub is None:
            return Failed("unknown-hub", f"hub {job.hub!r} has no delivery", transient=False)
        try:
            content = hub.source.load(job.args["item_id"], _parameters(job.args))
        except NotFound as error:
            return self._not_there(job, error)
        message = self._message(job, content, hub.kind)
        attempt.keep_message(body=message.body, content_type=message.content_type)
        return self._send(destination, message)

    def _send(self, destination: Destination, message: Message) -> Outcome:
        answer = self._sender.send(destination, message, now=self._now())
        return Succeeded(
            {
                "webhook_id": message.webhook_id,
                "bytes": len(message.body),
                "status": answer.status,
                "milliseconds": answer.milliseconds,
                "answer": answer.body,
            }
        )

    def _message(self, job: Job, content: DeliveredContent, kind: str) -> Message:
        return content_published(
            Origin(
                hub=job.hub,
                event_id=job.event_id,
                event_name=job.event_name,
                request_id=job.request_id,
                snapshot_id=job.snapshot_id,
                snapshot_created=job.snapshot_created,
            ),
            _facts(job, content.content),
            # What was pulled is not compared with what was published yet, so nothing is claimed.
            Published(
                content=content.content,
                linked_content=content.linked_content,
                source=kind,
                verified=False,
            ),
            timestamp=self._now(),
            webhook_id=webhook_id(job),
        )

    def _not_there(self, job: Job, error: NotFound) -> Outcome:
        looks = int(job.progress.get("looks", 0))
        if self._clock() - job.created_at.timestamp() > self._timing.appear_within:
            return Failed("content-not-found", str(error), transient=False)
        progress = {**job.progress, "looks": looks + 1}
        return LookAgain("content-not-found-yet", self._timing.pause(looks), progress)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), tz=UTC)


def _parameters(args: Mapping[str, Any]) -> ContentParameters:
    return ContentParameters(
        depth=args.get("depth", "all"),
        format=args.get("format", "inlined"),
        locale=args.get("locale"),
    )


def _facts(job: Job, content: Mapping[str, Any]) -> ItemFacts:
    meta = content.get("_meta")
    facts = meta if isinstance(meta, Mapping) else {}
    return ItemFacts(
        id=job.args["item_id"],
        delivery_key=_text(facts.get("deliveryKey")),
        schema=_text(facts.get("schema")) or job.schema,
        label=job.label or _text(facts.get("name")),
        locale=job.locale,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
