"""Unpublish: take an archived item off delivery, then tell destinations to drop it.

Archiving leaves an item published. The item is read again, because it may have been brought back
meanwhile, and read once more after the call until it shows that it is not published any more:
Amplience has no job to ask. Each destination is told by a job of its own, written together with
this one's success, so that one that is down holds up no other.

https://amplience.com/developers/docs/release-notes/2024/unpublish-content
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from app.actions.attempt import Attempt
from app.actions.confirmation import ConfirmationTiming, not_there
from app.amplience.publishing import PUBLISHED
from app.errors import AmplienceError, NotFound, Refused, Unauthorized
from app.events import ContentItem
from app.queue import Job
from app.queue.coalescing import DELETED
from app.queue.quotas import reserve_publish
from app.retry import Failed, FollowUp, LookAgain, Outcome, Skipped, Succeeded
from app.rules import ITEM

# An item that was deleted for good is as gone as an archived one.
_PUT_AWAY = frozenset({"ARCHIVED", "DELETED"})
# Jobs that wait for the quota do not all come back with its first free slot.
_SPREAD, _WIDEST = 12.0, 5


class UnpublishingClient(Protocol):
    """What this action needs of the Management API."""

    def content_item(self, item_id: str) -> ContentItem: ...  # noqa: D102 - as ManagementClient

    def unpublish(self, item_id: str) -> None: ...  # noqa: D102


class Unpublish:
    """The action `unpublish`, for all hubs; `clients` by our hub keys.

    `per_minute` is our part of the company's quota. `spread` gives a number from 0 to 1.
    """

    def __init__(
        self,
        *,
        clients: Mapping[str, UnpublishingClient],
        per_minute: int,
        clock: Callable[[], float],
        spread: Callable[[], float],
        timing: ConfirmationTiming | None = None,
    ) -> None:
        self._clients = clients
        self._per_minute = per_minute
        self._clock = clock
        self._spread = spread
        self._timing = timing or ConfirmationTiming()

    def run(self, attempt: Attempt) -> Outcome:
        """Ask for what is missing, or look whether what was asked for is done."""
        client = self._clients.get(attempt.job.hub)
        if client is None:
            text = f"hub {attempt.job.hub!r} has no credentials"
            return Failed("unknown-hub", text, transient=False)
        try:
            return self._run(attempt, client)
        except NotFound as error:
            return not_there(attempt.job, error, timing=self._timing, now=self._clock())

    def _run(self, attempt: Attempt, client: UnpublishingClient) -> Outcome:
        item = client.content_item(attempt.job.args["item_id"])
        if item.status not in _PUT_AWAY:
            return Skipped("not-archived", {"status": item.status})
        if item.publishing_status not in PUBLISHED:
            return _done(attempt.job, item)
        return self._wait(attempt) or self._ask(attempt, client, item)

    def _wait(self, attempt: Attempt) -> Outcome | None:
        """Decide about an item that is published still; None when it is to be asked for."""
        progress = attempt.job.progress
        asked_at = progress.get("asked_at")
        if asked_at is None:
            return None
        age = self._clock() - float(asked_at)
        if age > self._timing.confirm_within:
            text = "unpublishing was asked for, but the item shows as published"
            # Without progress: a person who tries it again has it asked for again.
            return Failed("unconfirmed", text, transient=False, progress={})
        if progress.get("sure") or age < self._timing.repeat_after:
            return self._look_later(progress)
        return None

    def _ask(self, attempt: Attempt, client: UnpublishingClient, item: ContentItem) -> Outcome:
        bulk = bool(attempt.job.args.get("bulk"))
        wait = reserve_publish(attempt.storage, per_minute=self._per_minute, bulk=bulk)
        if wait:
            return self._come_back(attempt.job.progress, wait)
        # Written before the call: an attempt that dies within it is not followed by a second call
        # before the first had its time to show.
        progress = {"asked_at": self._clock(), "sure": False, "looks": 0}
        attempt.hold(progress=progress)
        refused: AmplienceError | None = None
        try:
            client.unpublish(item.id)
        except Unauthorized as error:
            attempt.hold(progress={})
            return _not_permitted(error)
        except AmplienceError as error:
            if error.maybe_done:
                return self._look_later(progress, message=str(error))
            attempt.hold(progress={})
            refused = error
        return self._after_call(attempt.job, client, {**progress, "sure": True}, refused)

    def _after_call(
        self,
        job: Job,
        client: UnpublishingClient,
        progress: Mapping[str, Any],
        refused: AmplienceError | None,
    ) -> Outcome:
        """Look at once: it is done mostly, and a refusal may mean that there was nothing to do."""
        if refused and not isinstance(refused, Refused):
            raise refused
        item = client.content_item(job.args["item_id"])
        if item.status not in _PUT_AWAY:
            return Skipped("not-archived", {"status": item.status, "unpublished": not refused})
        if item.publishing_status not in PUBLISHED:
            return _done(job, item, by_us=not refused)
        if refused:
            raise refused
        return self._look_later(progress)

    def _look_later(self, progress: Mapping[str, Any], *, message: str | None = None) -> Outcome:
        looks = int(progress.get("looks", 0))
        return LookAgain(
            "awaiting-unpublish" if progress.get("sure") else "request-unknown",
            after=self._timing.pause(looks),
            progress={**progress, "looks": looks + 1},
            detail={"answer": message} if message else {},
        )

    def _come_back(self, progress: Mapping[str, Any], wait: float) -> Outcome:
        waits = int(progress.get("waits", 0)) + 1
        after = wait + self._spread() * _SPREAD * min(waits, _WIDEST)
        return LookAgain("awaiting-quota", after, {**progress, "waits": waits})


def _not_permitted(error: Unauthorized) -> Outcome:
    if error.status != 403:
        raise error
    text = f"these credentials may not unpublish: give them the permission to publish ({error})"
    return Failed("unpublish-not-permitted", text, transient=True)


def _done(job: Job, item: ContentItem, *, by_us: bool | None = None) -> Succeeded:
    asked = "asked_at" in job.progress if by_us is None else by_us
    return Succeeded(
        {"publishing_status": item.publishing_status, "unpublished": asked},
        follow_up=tuple(_deletion(job, item, name) for name in job.args.get("to", ())),
    )


def _deletion(job: Job, item: ContentItem, destination: str) -> FollowUp:
    return FollowUp(
        action="forward",
        target=destination,
        queue=f"forward:{destination}",
        key=f"forward:{destination}:{job.hub}:{item.id}",
        args={
            "kind": DELETED,
            "item_id": item.id,
            "delivery_key": item.delivery_key,
            **{name: job.args[name] for name in (ITEM,) if name in job.args},
        },
    )
