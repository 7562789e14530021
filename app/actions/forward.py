"""Forward: pull the published content of an item and send it to one destination.

What is sent is kept before it is sent, so that every retry sends the same bytes under the same
`webhook-id`; a newer publish of the item makes a job of its own and takes the place of a waiting
retry. Content is pulled after the webhook, and Content Delivery 2 may not have it yet, or have an
older copy still: a 404 right after a publish means "not yet", not "deleted", and where the hub
wants proof, what is not proven is pulled again for a while before it is sent as not verified.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog

from app.actions.attempt import Attempt
from app.actions.proving import (
    UNPUBLISHED,
    NotYet,
    Proven,
    PublishedItems,
    Pulled,
    prove,
    why_missing,
)
from app.amplience.delivery import ContentParameters, DeliveredContent
from app.amplience.loader import Turn
from app.config import Destination
from app.destinations.message import ItemFacts, Message, Origin, Published, content_published
from app.destinations.sending import Answer
from app.errors import NotFound, StorageUnavailable
from app.queue import Job
from app.queue.coalescing import is_deletion
from app.retry import Failed, LookAgain, Outcome, Skipped, Succeeded, Superseded

_log = structlog.get_logger(__name__)

# Any fixed number will do, as long as it never changes: ids are derived from it.
_NAMESPACE = uuid.UUID("6f1f6a3e-2c5b-5c0e-9a53-0b6e2a9e7c11")


class ContentSource(Protocol):
    """Where published content is pulled from; see `ContentLoader`."""

    def load(
        self, item_id: str, parameters: ContentParameters, turn: Turn | None = None
    ) -> DeliveredContent:
        """Pull one item; raises `NotFound` when it is not published."""
        ...


class Sender(Protocol):
    """Sends a message once; see `DestinationClient`."""

    def send(self, destination: Destination, message: Message, *, now: datetime) -> Answer:
        """Send it; raises `DestinationError` unless it was taken."""
        ...


@dataclass(frozen=True)
class HubContent:
    """The published content of one hub: where from, and which kind of source that is.

    With `published`, content is sent when it was proven against it, or after the last look.
    """

    source: ContentSource
    kind: str
    published: PublishedItems | None = None


@dataclass(frozen=True)
class ForwardTiming:
    """How patient the action is, in seconds, with content that is not there or not proven yet.

    `looks` are the pauses between looks; the last one repeats until the pauses add up to
    `patience`. Pauses are counted, not the time since the job was made: a job that waited an hour
    for a destination would have no look left, and the first read of a cache after its time is over
    gives the old copy. After `sure_after` looks the Management API is believed that an item is not
    published any more; before, it may not have heard of the newest publish.
    """

    looks: tuple[float, ...] = (0.5, 1, 2, 5, 10, 30, 60)
    patience: float = 900.0
    sure_after: int = 4

    def pause(self, looks: int) -> float | None:
        """The pause after the given number of earlier looks, or None when this was the last."""
        waited = sum(self._pause(number) for number in range(looks))
        return self._pause(looks) if waited < self.patience else None

    def _pause(self, looks: int) -> float:
        return self.looks[min(looks, len(self.looks) - 1)]


@dataclass(frozen=True)
class _Found:
    """Content that may be sent, and what the attempt is to say of it."""

    content: DeliveredContent
    source: str
    detail: Mapping[str, Any]


def webhook_id(job: Job) -> str:
    """Name a job's message: the same over all its attempts, and no other job's.

    Derived from the event as well as the job, so that a new database that counts its jobs from 1
    again does not repeat what receivers remember.
    """
    return f"msg_{uuid.uuid5(_NAMESPACE, f'{job.hub}/{job.event_id}/{job.id}').hex}"


class Forward:
    """The action `forward`; `hubs` by our hub keys."""

    def __init__(
        self,
        *,
        hubs: Mapping[str, HubContent],
        sender: Sender,
        clock: Callable[[], float],
        timing: ForwardTiming | None = None,
    ) -> None:
        self._hubs = hubs
        self._sender = sender
        self._clock = clock
        self._timing = timing or ForwardTiming()

    def run(self, attempt: Attempt, destination: Destination) -> Outcome:
        """Pull, prove, keep, send; after a failed send, only send."""
        job = attempt.job
        kept = attempt.kept_message()
        if kept is not None:
            message, detail = Message(*kept, webhook_id=webhook_id(job)), dict[str, Any]()
        else:
            found = self._look(attempt)
            if not isinstance(found, _Found):
                return found
            message, detail = self._message(job, found), dict(found.detail)
        if kept is None:
            if not attempt.keep_unless_newer(body=message.body, content_type=message.content_type):
                return Superseded("newer-sent")
        elif attempt.newer_was_sent():
            return Superseded("newer-sent")
        else:
            attempt.hold()
        return self._send(destination, message, detail)

    def _look(self, attempt: Attempt) -> _Found | Outcome:
        """Pull once; returns what may be sent, or what becomes of the job without it."""
        job = attempt.job
        hub = self._hubs.get(job.hub)
        if hub is None:
            return Failed("unknown-hub", f"hub {job.hub!r} has no delivery", transient=False)
        content = _pull(hub.source, attempt)
        if content is None:
            missing = NotYet("content-not-found-yet")
            if hub.published is not None:
                missing = why_missing(job.args["item_id"], hub.published)
            return self._again(job, missing) or _never_there()
        if hub.published is None or job.snapshot_id is None:
            because = "verify-is-off" if hub.published is None else "no-snapshot"
            return _Found(content, hub.kind, {"verified": False, "because": because})
        verdict = prove(_pulled(job, content, hub, job.snapshot_id), hub.published)
        if isinstance(verdict, Proven):
            more = {"newer_than_event": True} if verdict.newer_than_event else {}
            return _Found(content, hub.kind, {"verified": True, **more})
        return self._again(job, verdict) or _unproven(content, hub, verdict)

    def _again(self, job: Job, verdict: NotYet) -> LookAgain | Skipped | None:
        """Wait for the next look; None when this was the last."""
        looks = int(job.progress.get("looks", 0))
        pause = self._timing.pause(looks)
        if verdict.reason == UNPUBLISHED and (pause is None or looks >= self._timing.sure_after):
            return Skipped(UNPUBLISHED)
        if pause is None:
            return None
        after = max(pause, min(verdict.at_least, self._timing.patience))
        return LookAgain(verdict.reason, after, {**job.progress, "looks": looks + 1})

    def _send(
        self, destination: Destination, message: Message, detail: Mapping[str, Any]
    ) -> Outcome:
        answer = self._sender.send(destination, message, now=self._now())
        return Succeeded(
            {**detail, "webhook_id": message.webhook_id, **answer.detail()},
            health="good",
        )

    def _message(self, job: Job, found: _Found) -> Message:
        content = found.content
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
            Published(
                content=content.content,
                linked_content=content.linked_content,
                source=found.source,
                verified=found.detail["verified"],
            ),
            timestamp=self._now(),
            webhook_id=webhook_id(job),
        )

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), tz=UTC)


def _pull(source: ContentSource, attempt: Attempt) -> DeliveredContent | None:
    job, parameters = attempt.job, _parameters(attempt.job.args)

    def upcoming(limit: int) -> list[tuple[int, str]]:
        try:
            due = attempt.due_next(limit)
        except StorageUnavailable:
            return []  # this pull does not depend on it
        return [
            (number, args["item_id"])
            for number, args in due
            # A job that says an item is gone pulls nothing.
            if not is_deletion(args) and _parameters(args) == parameters
        ]

    try:
        return source.load(job.args["item_id"], parameters, Turn(job.id, upcoming))
    except NotFound:
        return None


def _pulled(job: Job, content: DeliveredContent, hub: HubContent, snapshot_id: str) -> Pulled:
    return Pulled(
        snapshot_id=snapshot_id,
        item_id=job.args["item_id"],
        content=content.content,
        locale=job.args.get("locale"),
        any_media_host=hub.kind == "staging",
    )


def _never_there() -> Failed:
    # Without progress: a person who tries it again gets all the looks again.
    text = "the item is not published, also after the last look"
    return Failed("content-not-found", text, transient=False, progress={})


def _unproven(content: DeliveredContent, hub: HubContent, verdict: NotYet) -> _Found:
    because = "unverified-after-deadline"
    _log.warning("forward.unverified", reason=because, last_look=verdict.reason)
    detail = {"verified": False, "because": because, "last_look": verdict.reason}
    return _Found(content, hub.kind, detail)


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
