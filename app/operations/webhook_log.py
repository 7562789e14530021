"""Reads Amplience's log of what it sent for a webhook, whose form is not documented. Pure.

Each reader looks in every place where such a log may have the value, and returns None where it
finds none. A webhook is ours when its label says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from app.amplience.answers import value_at
from app.amplience.webhooks import Webhook
from app.events import known_instant, read_moment

Outcome = Literal["delivered", "pending", "failed", "unknown"]

_LABEL = "dc-relay ({})"
_STATUS_CODES = (
    ("statusCode",),
    ("responseStatus",),
    ("responseCode",),
    ("httpStatus",),
    ("status",),
    ("response", "status"),
    ("response", "statusCode"),
    ("response", "code"),
)
_WORDS: dict[str, Outcome] = {
    **dict.fromkeys(("SUCCESS", "SUCCEEDED", "SUCCESSFUL", "DELIVERED", "OK"), "delivered"),
    **dict.fromkeys(("PENDING", "RETRYING", "QUEUED", "SCHEDULED", "IN_PROGRESS"), "pending"),
    **dict.fromkeys(("FAILED", "FAILURE", "ERROR", "TIMEOUT", "TIMED_OUT"), "failed"),
}
_MOMENTS = ("createdDate", "requestedDate", "sentDate", "timestamp", "date", "created", "time")
_EVENT_IDS = (("eventId",), ("event", "id"), ("webhookEventId",))
# An event lies at most so deep in its entry: request, body, event.
_DEEPEST = 4


@dataclass(frozen=True)
class LoggedRequest:
    """One entry of the log. `envelope` is what was sent, where the entry has it."""

    outcome: Outcome
    event_id: str | None
    envelope: Mapping[str, Any] | None
    at: datetime | None


def label_for(url: str) -> str:
    """The label by which a webhook of ours is known."""
    return _LABEL.format(url)


def is_ours(webhook: Webhook) -> bool:
    """Tell whether this service made it: its label names an address that it is sent to."""
    return any(webhook.label == label_for(url) for url in webhook.handlers)


def own_webhooks(webhooks: Sequence[Webhook], secrets: Sequence[str]) -> list[Webhook]:
    """Those that this service made, without those of another installation, with other secrets."""
    return [one for one in webhooks if is_ours(one) and one.secret in (None, *secrets)]


def read_entry(entry: Mapping[str, Any]) -> LoggedRequest:
    """What an entry of the log says."""
    envelope = next(_envelopes(entry, _DEEPEST), None)
    named = (value_at(dict(entry), *way) for way in _EVENT_IDS)
    event_id = next((text for text in named if isinstance(text, str) and text), None)
    if event_id is None and envelope:
        event_id = envelope["id"]
    return LoggedRequest(_outcome(entry), event_id, envelope, _moment(entry))


def _outcome(entry: Mapping[str, Any]) -> Outcome:
    word = entry.get("status")
    said = _WORDS.get(word.upper()) if isinstance(word, str) else None
    if said in ("pending", "delivered"):
        return said
    codes = (value_at(dict(entry), *way) for way in _STATUS_CODES)
    code = next((int(one) for one in codes if _is_status(one)), None)
    if code is not None:
        return "delivered" if 200 <= code < 300 else "failed"
    return said or "unknown"


def _is_status(value: Any) -> bool:
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return len(text) == 3 and text.isdecimal()


def _envelopes(value: Any, depth: int) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return
    if isinstance(value, Mapping):
        if _is_envelope(value):
            yield value
        elif depth:
            for below in value.values():
                yield from _envelopes(below, depth - 1)


def _is_envelope(value: Mapping[str, Any]) -> bool:
    return (
        isinstance(value.get("id"), str)
        and isinstance(value.get("name"), str)
        and isinstance(value.get("payload"), Mapping)
    )


def _moment(entry: Mapping[str, Any]) -> datetime | None:
    for name in _MOMENTS:
        found = entry.get(name)
        if isinstance(found, int) and not isinstance(found, bool):
            return known_instant(found if found > 10**11 else found * 1000)
        if moment := read_moment(found):
            return moment
    return None
