"""The values that travel through the house: frozen, without behaviour that reaches outside.

A webhook event is one message from Amplience.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, TypeVar

CONTENT_ITEM_CREATED = "dynamic-content.content-item.created"
CONTENT_ITEM_UPDATED = "dynamic-content.content-item.updated"
CONTENT_ITEM_ASSIGNED = "dynamic-content.content-item.assigned"
CONTENT_ITEM_WORKFLOW_UPDATED = "dynamic-content.content-item.workflow.updated"
EDITION_SCHEDULED = "dynamic-content.edition.scheduled"
EDITION_UNSCHEDULED = "dynamic-content.edition.unscheduled"
EDITION_PUBLISHED = "dynamic-content.edition.published"
SNAPSHOT_PUBLISHED = "dynamic-content.snapshot.published"

# What happens to an edition names no content item, so no action can work on it.
EDITION_EVENT_NAMES = frozenset({EDITION_SCHEDULED, EDITION_UNSCHEDULED, EDITION_PUBLISHED})

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CLOCKS_DIFFER = timedelta(minutes=5)

# Not an enum: a name that Amplience adds tomorrow must be stored, not refused.
KNOWN_EVENT_NAMES = frozenset(
    {
        CONTENT_ITEM_CREATED,
        CONTENT_ITEM_UPDATED,
        CONTENT_ITEM_ASSIGNED,
        CONTENT_ITEM_WORKFLOW_UPDATED,
        SNAPSHOT_PUBLISHED,
        *EDITION_EVENT_NAMES,
    }
)

_UNPAIRED = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class RootItem:
    """One of the content items that a snapshot published."""

    id: str
    schema: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class WebhookEvent:
    """One message from Amplience, checked, with the few fields that rules and jobs read.

    `item_id` is the content item that the event is about: `payload.id`, or the first root item of a
    snapshot; for an edition it is None. `items` holds all root items of a snapshot that has
    several, and is empty otherwise: use `by_item` to meet each of them. `snapshot_id` and
    `snapshot_created` are set for a snapshot only. All of the rest may be missing, because
    Amplience documents no more than the ids
    (https://amplience.com/developers/docs/integrations/webhooks/payloads/). `origin` is `webhook`,
    or names the command or schedule of ours that made the event. `trace` is the place in a trace
    that it came from, where its sender named one.
    """

    hub: str
    id: str
    name: str
    payload: Mapping[str, Any]
    body: bytes
    item_id: str | None = None
    request_id: str | None = None
    sequence_id: int | None = None
    resource: str | None = None
    snapshot_id: str | None = None
    snapshot_created: datetime | None = None
    schema: str | None = None
    label: str | None = None
    locale: str | None = None
    status: str | None = None
    repository_id: str | None = None
    last_modified: datetime | None = None
    items: tuple[RootItem, ...] = ()
    origin: str = "webhook"
    trace: str | None = None

    def by_item(self) -> tuple[WebhookEvent, ...]:
        """The event once for each of its items, with that item's id, schema and label."""
        if not self.items:
            return (self,)
        return tuple(
            replace(self, item_id=item.id, schema=item.schema, label=item.label)
            for item in self.items
        )

    @property
    def envelope(self) -> dict[str, Any]:
        """The message as a plain structure, for JSONPath conditions (they start at `$.payload`)."""
        return {
            "id": self.id,
            "name": self.name,
            "requestId": self.request_id,
            "sequenceId": self.sequence_id,
            "resource": self.resource,
            "payload": self.payload,
        }

    @cached_property
    def digest(self) -> str:
        """A digest of the bytes as they came: what differs in it may still be the same event."""
        return hashlib.sha256(self.body).hexdigest()

    @cached_property
    def fingerprint(self) -> str:
        """A digest of name and payload.

        Two messages with one id are the same event if this is equal; `sequenceId` and `requestId`
        stay out, because nobody knows what a repeat carries.
        """
        canonical = json.dumps([self.name, self.payload], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class ContentItem:
    """A content item as the Management API describes it; what may be missing is None.

    `extra` holds the whole answer, for what only one action needs.
    """

    id: str
    version: int
    label: str | None = None
    locale: str | None = None
    status: str | None = None
    repository_id: str | None = None
    schema: str | None = None
    delivery_key: str | None = None
    publishing_status: str | None = None
    last_modified: datetime | None = None
    last_published: datetime | None = None
    last_unpublished: datetime | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


def storable(value: Any) -> Any:
    """The same value with text that every database takes, in it and below it.

    PostgreSQL refuses NUL, and no driver encodes half of a surrogate pair; the sign for an
    unreadable character stands in their place.
    """
    if isinstance(value, str):
        text = value.replace("\0", "\N{REPLACEMENT CHARACTER}")
        return text if text.isascii() else _UNPAIRED.sub("\N{REPLACEMENT CHARACTER}", text)
    if isinstance(value, Mapping):
        return {storable(name): storable(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [storable(item) for item in value]
    return value


_Dated = TypeVar("_Dated", WebhookEvent, ContentItem)
_DATES = ("snapshot_created", "last_modified", "last_published", "last_unpublished")


def instant(milliseconds: int) -> datetime:
    """The aware UTC datetime of a count of milliseconds since 1970, as the ledger keeps time.

    For a count that this program made. Use `known_instant` for one that was stored or received.
    """
    # Not `fromtimestamp`: a float of seconds is off by some microseconds in far years.
    return _EPOCH + timedelta(milliseconds=milliseconds)


def known_instant(milliseconds: object) -> datetime | None:
    """The same, or None for what is no number, or no moment of the years 1 to 9999."""
    if not isinstance(milliseconds, (int, float)):
        return None
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except (ValueError, OverflowError):
        return None


def read_moment(text: object) -> datetime | None:
    """Read an ISO 8601 date as an aware UTC datetime; one without an offset is taken as UTC.

    None for anything else, and for a moment that the ledger could not give back: it keeps whole
    milliseconds, and 9999-12-31T23:59:59.9999999Z rounds up to the year 10000.
    """
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        # OverflowError: the offset leads out of the years 1 to 9999.
        return None
    return None if known_instant(milliseconds(moment)) is None else moment


def milliseconds(moment: datetime) -> int:
    """Milliseconds since 1970 of an aware datetime."""
    return round(moment.timestamp() * 1000)


def is_future(moment: datetime, now: datetime) -> bool:
    """Whether a date lies further ahead of `now` than two clocks may differ (5 minutes)."""
    return moment - now > _CLOCKS_DIFFER


def without_future_dates(value: _Dated, now: datetime) -> tuple[_Dated, dict[str, datetime]]:
    """The event or item with its dates in the future as unknown, and those dates by name.

    Dates order what is sent, so one in the future would outrank every later event. Give the moment
    at which the event was received, also when it is read again later.
    """
    dates = {name: getattr(value, name, None) for name in _DATES}
    future = {name: date for name, date in dates.items() if date and is_future(date, now)}
    unknown: dict[str, Any] = dict.fromkeys(future)
    return (replace(value, **unknown) if future else value), future


def isoformat(moment: datetime) -> str:
    """`2025-03-03T11:00:00.000Z`: the form that Amplience writes its dates in."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
