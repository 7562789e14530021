from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import WebhookRejected
from app.events import (
    CONTENT_ITEM_ASSIGNED,
    CONTENT_ITEM_CREATED,
    CONTENT_ITEM_UPDATED,
    CONTENT_ITEM_WORKFLOW_UPDATED,
    EDITION_PUBLISHED,
    EDITION_SCHEDULED,
    EDITION_UNSCHEDULED,
    KNOWN_EVENT_NAMES,
    SNAPSHOT_PUBLISHED,
    WebhookEvent,
)
from app.schemas import load_event
from tests.builders import PAYLOADS, encoded, make_body, make_event, make_message

ITEM = make_message(CONTENT_ITEM_CREATED)["payload"]["id"]
ITEM_EVENTS = [
    CONTENT_ITEM_CREATED,
    CONTENT_ITEM_UPDATED,
    CONTENT_ITEM_ASSIGNED,
    CONTENT_ITEM_WORKFLOW_UPDATED,
]
EDITION_EVENTS = [EDITION_SCHEDULED, EDITION_UNSCHEDULED, EDITION_PUBLISHED]


def refused(body: bytes) -> WebhookRejected:
    with pytest.raises(WebhookRejected) as caught:
        load_event(body, hub="main")
    return caught.value


def test_there_is_a_sample_of_every_known_event() -> None:
    samples = {json.loads(path.read_bytes())["name"] for path in PAYLOADS.glob("*.json")}
    assert samples == KNOWN_EVENT_NAMES


@pytest.mark.parametrize("name", ITEM_EVENTS)
def test_content_item_events_give_what_rules_read(name: str) -> None:
    body = make_body(name)
    event = load_event(body, hub="main")
    message = json.loads(body)
    assert (event.hub, event.id, event.name) == ("main", message["id"], name)
    assert (event.request_id, event.sequence_id) == (message["requestId"], 1)
    assert event.resource == message["resource"]
    assert event.item_id == ITEM
    assert event.schema == "https://schemas.example.com/banner.json"
    assert (event.label, event.locale, event.status) == ("Autumn banner", "en-GB", "ACTIVE")
    assert event.repository_id == message["payload"]["contentRepositoryId"]
    assert event.last_modified is not None
    assert (event.snapshot_id, event.snapshot_created) == (None, None)
    assert event.payload == message["payload"]
    assert event.body == body


def test_snapshot_gives_the_item_and_itself_apart() -> None:
    event = make_event(SNAPSHOT_PUBLISHED)
    assert event.item_id == ITEM
    assert event.snapshot_id == event.payload["id"] != ITEM
    assert event.snapshot_created == datetime(2025, 9, 3, 11, tzinfo=UTC)
    assert event.schema == "https://schemas.example.com/banner.json"
    assert (event.label, event.locale) == ("Autumn banner", None)


@pytest.mark.parametrize("name", EDITION_EVENTS)
def test_edition_is_no_content_item(name: str) -> None:
    event = make_event(name)
    assert event.item_id is None
    assert event.payload["name"] == "Autumn launch"


def test_archived_item_says_so() -> None:
    assert make_event(f"{CONTENT_ITEM_UPDATED}.archived").status == "ARCHIVED"


def test_item_without_locale_has_none() -> None:
    assert make_event(f"{CONTENT_ITEM_CREATED}.no-locale").locale is None


@pytest.mark.parametrize(
    "payload", [..., None, {}, {"id": 7}, "text", [1]], ids=["missing", *"nowtl"]
)
def test_unknown_event_name_needs_only_name_and_id(payload: Any) -> None:
    message = {"id": "e1", "name": "dynamic-content.content-item.deleted", "payload": payload}
    if payload is ...:
        del message["payload"]
    event = load_event(encoded(message), hub="main")
    assert (event.id, event.name, event.item_id) == ("e1", message["name"], None)
    assert event.payload == (payload if isinstance(payload, dict) else {})


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\xff\xfe{}", "body-not-utf8"),
        (b'{"id":"\xed\xa0\x80"}', "body-not-utf8"),
        (b"", "body-not-json"),
        (b"{", "body-not-json"),
        (b"{} x", "body-not-json"),
        (b"id=1&name=2", "body-not-json"),
        (b"\xef\xbb\xbf{}", "body-not-json"),
        (b'{"id": NaN}', "body-not-json"),
        (b'{"id": Infinity}', "body-not-json"),
        (b'{"id": -Infinity}', "body-not-json"),
        (b'{"id": 1e999}', "body-not-json"),
        (b'{"id": "a", "id": "b"}', "body-not-json"),
        (b'{"payload": {"a": {"x": 1, "x": 1}}}', "body-not-json"),
        (b'{"id": ' + b"9" * 5000 + b"}", "body-not-json"),
        (b"[" * 100_000, "body-too-deep"),
        (b"[" * 100_000 + b"]" * 100_000, "body-too-deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "body-too-deep"),
        (b"[" * 101 + b"]" * 101, "body-too-deep"),
        (b"[" * 100 + b"]" * 100, "envelope-missing"),
        (b"null", "envelope-missing"),
        (b'"text"', "envelope-missing"),
        (b"[]", "envelope-missing"),
        (b"{}", "envelope-missing"),
        (b'{"headline": "Autumn is here"}', "envelope-missing"),
        (b'{"id": "e1"}', "envelope-missing"),
        (b'{"id": "e1", "name": "Autumn banner"}', "envelope-missing"),
        (b'{"id": "e1", "name": 7}', "envelope-missing"),
        (b'{"name": "dynamic-content.content-item.created"}', "envelope-missing"),
    ],
    ids=lambda value: value[:30].decode("latin-1") if isinstance(value, bytes) else None,
)
def test_what_is_no_envelope_is_refused_with_400(body: bytes, reason: str) -> None:
    error = refused(body)
    assert (error.status, error.reason) == (400, reason)


def test_body_of_a_custom_payload_says_what_to_change() -> None:
    error = refused(b'{"headline": "Autumn is here"}')
    assert "custom payload" in error.detail
    assert "remove it" in error.detail


def test_refusal_of_the_body_shows_nothing_of_it() -> None:
    assert "hush" not in refused(b'{"id": hush}').detail


ROOTS = [
    {"id": "a", "contentTypeUri": "https://x.example/a", "label": "A"},
    {"id": "b", "contentTypeUri": "https://x.example/b", "new": 1},
]


@pytest.mark.parametrize("single", [..., None, {}, "an id", {"id": "other"}], ids=repr)
def test_snapshot_is_about_each_entry_of_its_list(single: Any) -> None:
    roots = [*ROOTS, ROOTS[0]]
    event = make_event(SNAPSHOT_PUBLISHED, rootContentItem=single, rootContentItems=roots)
    assert (event.item_id, event.schema, event.label) == ("a", "https://x.example/a", "A")
    facts = [(one.item_id, one.schema, one.label) for one in event.by_item()]
    assert facts == [("a", "https://x.example/a", "A"), ("b", "https://x.example/b", None)]


@pytest.mark.parametrize("roots", [..., None, [], {}, "a", 7], ids=repr)
def test_without_a_list_the_single_root_item_stands(roots: Any) -> None:
    event = make_event(SNAPSHOT_PUBLISHED, rootContentItem=ROOTS[0], rootContentItems=roots)
    assert [one.item_id for one in event.by_item()] == ["a"]
    assert event.items == ()


def test_one_entry_in_the_list_is_an_event_of_one_item() -> None:
    event = make_event(SNAPSHOT_PUBLISHED, rootContentItem=..., rootContentItems=[ROOTS[1]])
    assert (event.item_id, event.items) == ("b", ())


@pytest.mark.parametrize(
    ("entry", "place"), [({}, "1.id"), ({"id": 7}, "1.id"), (None, "1"), ("an id", "1")], ids=repr
)
def test_entry_without_an_id_is_named(entry: Any, place: str) -> None:
    error = refused(make_body(SNAPSHOT_PUBLISHED, rootContentItems=[ROOTS[0], entry]))
    assert (error.status, error.reason) == (422, "payload-invalid")
    assert set(error.fields or {}) == {f"payload.rootContentItems.{place}"}


def test_a_thousand_root_items_are_taken_and_no_more() -> None:
    roots = [{"id": f"item-{number}"} for number in range(1001)]
    event = make_event(SNAPSHOT_PUBLISHED, rootContentItems=roots[:1000])
    assert len(event.by_item()) == 1000
    error = refused(make_body(SNAPSHOT_PUBLISHED, rootContentItems=roots))
    assert error.fields == {
        "payload.rootContentItems": ["Has 1,001 entries; at most 1,000 are taken."]
    }


BAD_IDENTIFIERS = ["", " ", "a\0b", "a\nb", "\ud800", "x" * 201, 7, None, True, [], {}]


@pytest.mark.parametrize("bad", BAD_IDENTIFIERS, ids=repr)
@pytest.mark.parametrize("field", ["id", "name"])
def test_unusable_id_or_name_is_named(field: str, bad: Any) -> None:
    error = refused(encoded({**make_message(), field: bad}))
    assert (error.status, error.reason) == (422, "payload-invalid")
    assert error.fields is not None
    assert list(error.fields) == [field]
    assert error.fields[field][0]


@pytest.mark.parametrize("bad", [..., *BAD_IDENTIFIERS], ids=repr)
@pytest.mark.parametrize("name", [*ITEM_EVENTS, *EDITION_EVENTS, SNAPSHOT_PUBLISHED])
def test_unusable_payload_id_is_named(name: str, bad: Any) -> None:
    error = refused(make_body(name, id=bad))
    assert (error.status, error.reason) == (422, "payload-invalid")
    assert list(error.fields or {}) == ["payload.id"]


@pytest.mark.parametrize(
    ("root", "place"),
    [
        (..., "payload.rootContentItem"),
        (None, "payload.rootContentItem"),
        ("an id", "payload.rootContentItem"),
        ({}, "payload.rootContentItem.id"),
        ({"id": 7}, "payload.rootContentItem.id"),
    ],
)
def test_snapshot_without_its_item_is_refused(root: Any, place: str) -> None:
    error = refused(make_body(SNAPSHOT_PUBLISHED, rootContentItem=root))
    assert error.status == 422
    assert list(error.fields or {}) == [place]


@pytest.mark.parametrize("payload", [..., None, "text", 7, []], ids=repr)
@pytest.mark.parametrize("name", sorted(KNOWN_EVENT_NAMES))
def test_known_event_needs_a_payload_object(name: str, payload: Any) -> None:
    message = {**make_message(name), "payload": payload}
    if payload is ...:
        del message["payload"]
    error = refused(encoded(message))
    assert error.status == 422
    assert list(error.fields or {}) == ["payload"]


def test_every_fault_is_named_at_once() -> None:
    error = refused(encoded({"id": "", "name": SNAPSHOT_PUBLISHED, "payload": {}}))
    assert set(error.fields or {}) == {"id", "payload.id", "payload.rootContentItem"}


OPTIONAL = {
    "label": "label",
    "locale": "locale",
    "status": "status",
    "contentRepositoryId": "repository_id",
    "lastModifiedDate": "last_modified",
    "body": "schema",
}


@pytest.mark.parametrize("value", [..., None, 7, True, [], [{}], {"a": 1}, 1.5], ids=repr)
@pytest.mark.parametrize(("field", "attribute"), OPTIONAL.items())
def test_optional_field_of_any_other_type_is_none(field: str, attribute: str, value: Any) -> None:
    event = make_event(CONTENT_ITEM_CREATED, **{field: value})
    assert getattr(event, attribute) is None
    assert event.item_id == ITEM


@pytest.mark.parametrize("body", [{"_meta": None}, {"_meta": []}, {"_meta": {"schema": 1}}])
def test_body_without_schema_gives_none(body: Any) -> None:
    assert make_event(CONTENT_ITEM_CREATED, body=body).schema is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3, 3), (0, 0), (2**63 - 1, 2**63 - 1), (2**63, None), ("3", None), (1.5, None), (True, None)],
)
def test_sequence_id_is_a_64_bit_number_or_none(value: Any, expected: int | None) -> None:
    event = load_event(encoded({**make_message(), "sequenceId": value}), hub="main")
    assert event.sequence_id == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-09-03T11:00:00.000Z", datetime(2025, 9, 3, 11, tzinfo=UTC)),
        ("2025-09-03T11:00:00Z", datetime(2025, 9, 3, 11, tzinfo=UTC)),
        ("2025-09-03T13:00:00.5+02:00", datetime(2025, 9, 3, 11, 0, 0, 500_000, tzinfo=UTC)),
        ("2025-09-03T11:00:00", datetime(2025, 9, 3, 11, tzinfo=UTC)),
        ("yesterday", None),
        ("", None),
        ("0001-01-01T00:00:00+23:59", None),
        (1756897200000, None),
    ],
)
def test_created_date_is_read_as_far_as_it_can_be(text: Any, expected: datetime | None) -> None:
    assert make_event(SNAPSHOT_PUBLISHED, createdDate=text).snapshot_created == expected


def test_texts_are_fit_for_every_database() -> None:
    event = make_event(CONTENT_ITEM_CREATED, label="a\0b\ud800" + "é" * 5000, locale="x" * 5000)
    assert event.label is not None
    assert event.locale is not None
    assert event.label.startswith("a\ufffdb\ufffdé")
    assert len(event.label) == 1000
    assert len(event.locale) == 200
    event.label.encode("utf-8")


def test_unknown_fields_are_kept_in_the_payload() -> None:
    assert make_event(CONTENT_ITEM_CREATED, brandNew={"a": 1}).payload["brandNew"] == {"a": 1}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(), below, max_size=4),
    max_leaves=20,
)
SOME_NAME = st.sampled_from(sorted(KNOWN_EVENT_NAMES)) | st.text(max_size=5)
KEYS = st.sampled_from(
    ["id", "body", "_meta", "schema", "label", "createdDate", "rootContentItem", "locale"]
)
ENVELOPES = st.fixed_dictionaries(
    {"id": st.just("e1") | JSON, "name": SOME_NAME | JSON},
    optional={
        "payload": st.dictionaries(KEYS, JSON | st.dictionaries(KEYS, JSON)) | JSON,
        "sequenceId": JSON,
        "requestId": JSON,
        "resource": JSON,
    },
)


@given(value=JSON | ENVELOPES)
def test_any_json_is_an_event_or_refused(value: Any) -> None:
    # Anything but an event or a refusal fails here by itself.
    with suppress(WebhookRejected):
        assert_storable(load_event(encoded(value), hub="main"))


@given(body=st.binary(max_size=100))
def test_any_bytes_are_refused_by_name(body: bytes) -> None:
    assert refused(body).status == 400


def assert_storable(event: WebhookEvent) -> None:
    assert event.fingerprint
    for value in vars(event).values():
        if isinstance(value, str):
            assert "\0" not in value
            value.encode("utf-8")
