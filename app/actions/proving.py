"""What is known of pulled content: proven, not yet, or no longer wanted.

The Management API keeps each snapshot's own copy of its items, which is exactly what was published.
Content that equals it is proven. Content that does not may be older (a cache has not looked again)
or newer (the item was published once more, by itself or with a parent, which sends no webhook of
its own): the item as it is now tells these apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from app.actions.freshness import is_version
from app.errors import NotFound, RateLimited, Unavailable
from app.events import ContentItem

# The item is not published any more, by what the Management API says now.
UNPUBLISHED = "unpublished-meanwhile"


class PublishedItems(Protocol):
    """What this needs of the Management API; see `ManagementClient`."""

    def snapshot_item(self, snapshot_id: str, item_id: str) -> ContentItem: ...  # noqa: D102

    def content_item(self, item_id: str) -> ContentItem: ...  # noqa: D102


@dataclass(frozen=True)
class Proven:
    """It is what the event's snapshot published, or what a newer publish did."""

    newer_than_event: bool = False


@dataclass(frozen=True)
class NotYet:
    """Nothing is proven, and `reason` (a slug) says why. Look again, after `at_least` seconds."""

    reason: str
    at_least: float = 0.0


@dataclass(frozen=True)
class Pulled:
    """What was asked for, and what came."""

    snapshot_id: str
    item_id: str
    content: Mapping[str, Any]
    locale: str | None
    any_media_host: bool

    def is_version(self, item: ContentItem) -> bool:
        """Tell whether the content is this version; see `freshness.is_version`."""
        return is_version(
            self.content, item, locale=self.locale, any_media_host=self.any_media_host
        )


def prove(pulled: Pulled, published: PublishedItems) -> Proven | NotYet:
    """Compare, with one call to the Management API, or two when the first proves nothing.

    Raises Unauthorized and Refused, and NotFound that is not about the item (`refusing`); that the
    API is away or has too much to do is a `NotYet`.
    """
    try:
        return _prove(pulled, published)
    except (RateLimited, Unavailable) as error:
        return _cannot_ask(error)


def why_missing(item_id: str, published: PublishedItems) -> NotYet:
    """Say why an item cannot be pulled: it is not there yet, or `UNPUBLISHED`.

    Raises as `prove` does.
    """
    try:
        return _state_now(_found(lambda: published.content_item(item_id)), "content-not-found-yet")
    except (RateLimited, Unavailable) as error:
        return _cannot_ask(error)


def _prove(pulled: Pulled, published: PublishedItems) -> Proven | NotYet:
    snapshot = _found(lambda: published.snapshot_item(pulled.snapshot_id, pulled.item_id))
    if snapshot and pulled.is_version(snapshot):
        return Proven()
    now = _found(lambda: published.content_item(pulled.item_id))
    if now and snapshot and _was_published_later(now, than=snapshot) and pulled.is_version(now):
        return Proven(newer_than_event=True)
    return _state_now(now, "differs-from-snapshot" if snapshot else "snapshot-not-found-yet")


def _state_now(item: ContentItem | None, otherwise: str) -> NotYet:
    is_unpublished = item is not None and item.publishing_status == "UNPUBLISHED"
    return NotYet(UNPUBLISHED if is_unpublished else otherwise)


def _cannot_ask(error: RateLimited | Unavailable) -> NotYet:
    return NotYet("verification-unavailable", at_least=error.retry_after or 0.0)


def _was_published_later(now: ContentItem, *, than: ContentItem) -> bool:
    """Tell whether the item's current body is published, in a version that came later.

    Dates cannot say it: a snapshot may be made long before its edition publishes it. Where somebody
    saved the item since, its body is no proof any more.
    """
    published = now.extra.get("lastPublishedVersion")
    return published == now.version > than.version and now.publishing_status != "UNPUBLISHED"


def _found(ask: Callable[[], ContentItem]) -> ContentItem | None:
    try:
        return ask()
    except NotFound as error:
        if error.refusing:
            raise
        return None
