from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from app.destinations.message import (
    ItemFacts,
    Origin,
    Published,
    content_deleted,
    content_published,
)

WHEN = datetime(2025, 3, 3, 11, 0, 1, tzinfo=UTC)
ORIGIN = Origin(
    hub="main",
    event_id="e-1",
    event_name="dynamic-content.snapshot.published",
    request_id="r-1",
    snapshot_id="s-1",
    snapshot_created=datetime(2025, 3, 3, 11, tzinfo=UTC),
)
ITEM = ItemFacts(
    id="i-1", delivery_key="home/banner", schema="https://x.example/b.json", label="B", locale="en"
)


def _body(content: Any, **more: Any) -> bytes:
    published = Published(content=content, source="fresh", verified=True, **more)
    return content_published(ORIGIN, ITEM, published, timestamp=WHEN, webhook_id="j-1").body


def test_published_envelope_has_the_promised_form() -> None:
    assert json.loads(_body({"headline": "Spring"})) == {
        "type": "content.published",
        "timestamp": "2025-03-03T11:00:01.000Z",
        "data": {
            "hub": "main",
            "event": {
                "id": "e-1",
                "name": "dynamic-content.snapshot.published",
                "requestId": "r-1",
            },
            "snapshot": {"id": "s-1", "createdDate": "2025-03-03T11:00:00.000Z"},
            "item": {
                "id": "i-1",
                "deliveryKey": "home/banner",
                "schema": "https://x.example/b.json",
                "label": "B",
                "locale": "en",
            },
            "content": {"headline": "Spring"},
            "source": "fresh",
            "verified": True,
        },
    }


def test_deleted_envelope_has_the_same_facts_and_no_content() -> None:
    origin = Origin(hub="main", event_id="e-1", event_name="updated")
    message = content_deleted(origin, ItemFacts(id="i-1"), timestamp=WHEN, webhook_id="j-2")
    assert (message.content_type, message.webhook_id) == ("application/json", "j-2")
    assert json.loads(message.body) == {
        "type": "content.deleted",
        "timestamp": "2025-03-03T11:00:01.000Z",
        "data": {
            "hub": "main",
            "event": {"id": "e-1", "name": "updated", "requestId": None},
            "snapshot": None,
            "item": {
                "id": "i-1",
                "deliveryKey": None,
                "schema": None,
                "label": None,
                "locale": None,
            },
        },
    }


def test_linked_content_is_there_only_when_asked_for() -> None:
    assert "linkedContent" not in json.loads(_body({}))["data"]
    assert json.loads(_body({}, linked_content=[]))["data"]["linkedContent"] == []


def test_same_content_makes_the_same_bytes() -> None:
    assert _body({"a": 1, "b": {"c": 1, "d": 2}}) == _body({"b": {"d": 2, "c": 1}, "a": 1})


def test_body_is_compact_utf8() -> None:
    body = _body({"headline": "Frühling 春"})
    assert "Frühling 春".encode() in body
    assert b'{"data":{' in body


def test_half_a_surrogate_pair_stays_valid_json() -> None:
    assert json.loads(_body({"odd": "a\ud83db"}).decode())["data"]["content"] == {"odd": "a\ud83db"}


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        _body({"n": float("nan")})
