from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from app.events import CONTENT_ITEM_CREATED, instant, isoformat, milliseconds
from app.schemas import load_event
from tests.builders import encoded, make_event, make_message


def test_fingerprint_ignores_what_a_repeat_may_change() -> None:
    message = make_message()
    repeat = {**message, "sequenceId": 2, "requestId": "another", "resource": "another"}
    first = load_event(encoded(message), hub="main")
    assert load_event(encoded(repeat), hub="main").fingerprint == first.fingerprint


def test_fingerprint_ignores_the_order_of_keys_and_blanks() -> None:
    message = make_message()
    turned = dict(reversed(message.items()))
    turned["payload"] = dict(reversed(message["payload"].items()))
    first = load_event(encoded(message), hub="main")
    assert load_event(encoded(turned) + b"\n", hub="main").fingerprint == first.fingerprint


def test_fingerprint_tells_another_payload() -> None:
    assert make_event(label="a").fingerprint != make_event(label="b").fingerprint


def test_fingerprint_tells_another_name() -> None:
    message = make_message()
    other = {**message, "name": "dynamic-content.content-item.updated"}
    first = load_event(encoded(message), hub="main").fingerprint
    assert load_event(encoded(other), hub="main").fingerprint != first


def test_fingerprint_of_a_lone_surrogate_is_a_fingerprint() -> None:
    assert make_event(label="\ud800").fingerprint != make_event(label="?").fingerprint


def test_envelope_is_what_jsonpath_conditions_search() -> None:
    message = make_message(CONTENT_ITEM_CREATED)
    assert make_event(CONTENT_ITEM_CREATED).envelope == message


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2025, 9, 3, 11, tzinfo=UTC), "2025-09-03T11:00:00.000Z"),
        (
            datetime(2025, 9, 3, 13, 0, 0, 1500, timezone(timedelta(hours=2))),
            "2025-09-03T11:00:00.001Z",
        ),
    ],
)
def test_dates_are_written_as_amplience_writes_them(moment: datetime, text: str) -> None:
    assert isoformat(moment) == text


def test_milliseconds_and_back_is_the_same_moment() -> None:
    moment = datetime(2025, 9, 3, 11, 0, 0, 123_000, tzinfo=UTC)
    assert milliseconds(moment) == 1_756_897_200_123
    assert instant(milliseconds(moment)) == moment
