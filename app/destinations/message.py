"""What a destination is sent: our envelope as bytes. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.events import isoformat


@dataclass(frozen=True)
class Message:
    """What goes over the wire. `webhook_id` is the same over all attempts of one job.

    The body is UTF-8 and must be the same over all attempts as well: a receiver may compare.
    """

    body: bytes = field(repr=False)
    content_type: str
    webhook_id: str


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The webhook event that a message comes from, and its snapshot where it has one."""

    hub: str
    event_id: str
    event_name: str
    request_id: str | None = None
    snapshot_id: str | None = None
    snapshot_created: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class ItemFacts:
    """What is known of the content item; the id is what a receiver should keep it under."""

    id: str
    delivery_key: str | None = None
    schema: str | None = None
    label: str | None = None
    locale: str | None = None


@dataclass(frozen=True, kw_only=True)
class Published:
    """What was pulled: `source` names where from, `verified` says whether it was proven current.

    `linked_content` is None where content was not asked for as linked, and left out then.
    """

    content: Mapping[str, Any] = field(repr=False)
    linked_content: Sequence[Any] | None = field(default=None, repr=False)
    source: str
    verified: bool


def content_published(
    origin: Origin,
    item: ItemFacts,
    published: Published,
    *,
    timestamp: datetime,
    webhook_id: str,
) -> Message:
    """The envelope of a `content.published`. `timestamp` is when it happened, not when it is sent.

    A value that is not known is null, never missing: receivers can rely on the form.
    """
    content: dict[str, Any] = {"content": published.content}
    if published.linked_content is not None:
        content["linkedContent"] = published.linked_content
    content |= {"source": published.source, "verified": published.verified}
    return _envelope(
        "content.published", _facts(origin, item) | content, timestamp, webhook_id=webhook_id
    )


def content_deleted(
    origin: Origin, item: ItemFacts, *, timestamp: datetime, webhook_id: str
) -> Message:
    """The envelope of a `content.deleted`: the same facts, without any content."""
    return _envelope("content.deleted", _facts(origin, item), timestamp, webhook_id=webhook_id)


def alert_raised(alert: Mapping[str, Any], *, timestamp: datetime, webhook_id: str) -> Message:
    """The envelope of an alert: type `alert.` and its slug; what there is to tell in `data`."""
    data = {"alert": dict(alert)}
    return _envelope(f"alert.{alert['slug']}", data, timestamp, webhook_id=webhook_id)


def _facts(origin: Origin, item: ItemFacts) -> dict[str, Any]:
    created = origin.snapshot_created
    snapshot = {
        "id": origin.snapshot_id,
        "createdDate": isoformat(created) if created else None,
    }
    return {
        "hub": origin.hub,
        "event": {
            "id": origin.event_id,
            "name": origin.event_name,
            "requestId": origin.request_id,
        },
        "snapshot": snapshot if origin.snapshot_id else None,
        "item": {
            "id": item.id,
            "deliveryKey": item.delivery_key,
            "schema": item.schema,
            "label": item.label,
            "locale": item.locale,
        },
    }


def _envelope(
    kind: str, facts: Mapping[str, Any], timestamp: datetime, *, webhook_id: str
) -> Message:
    """`{type, timestamp, data}`, the form that Standard Webhooks recommends for a payload."""
    text = json.dumps(
        {"type": kind, "timestamp": isoformat(timestamp), "data": facts},
        ensure_ascii=False,
        allow_nan=False,
        separators=(",", ":"),
        # A second pull may bring the same fields in another order; the bytes stay the same.
        sort_keys=True,
    )
    # JSON can hold half of a surrogate pair, UTF-8 cannot; `\ud800` is JSON's own form for it.
    body = text.encode("utf-8", "backslashreplace")
    return Message(body=body, content_type="application/json", webhook_id=webhook_id)
