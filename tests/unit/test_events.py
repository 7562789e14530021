from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from app.events import (
    CONTENT_ITEM_CREATED,
    SNAPSHOT_PUBLISHED,
    instant,
    isoformat,
    known_instant,
    milliseconds,
    read_moment,
    without_future_dates,
)
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


@pytest.mark.parametrize(
    "text",
    [
        "9999-12-31T23:59:59.9999999Z",
        "9999-12-31T23:59:59.9995Z",
        "9999-12-31T23:59:59-00:01",
        "0001-01-01T00:00:00+00:01",
        "10000-01-01T00:00:00Z",
        "soon",
        "",
        7,
        None,
    ],
)
def test_moment_that_the_ledger_could_not_give_back_is_unknown(text: object) -> None:
    assert read_moment(text) is None


@pytest.mark.parametrize(
    "text", ["9999-12-31T23:59:59.999Z", "0001-01-01T00:00:00Z", "2025-03-03T11:00:00.000Z"]
)
def test_moment_of_the_years_that_there_are_is_known_there_and_back(text: str) -> None:
    moment = read_moment(text)
    assert moment is not None
    assert isoformat(moment).replace(".000Z", "Z") == text.replace(".000Z", "Z")
    assert known_instant(milliseconds(moment)) == moment


@pytest.mark.parametrize(
    "stored", [253_402_300_800_000, -(1 << 63), (1 << 63) - 1, 1e300, "words", b"\xff", None]
)
def test_stored_number_that_is_no_moment_is_unknown(stored: object) -> None:
    assert known_instant(stored) is None


NOW = datetime(2025, 3, 3, 11, tzinfo=UTC)


@pytest.mark.parametrize(("ahead", "is_known"), [(-1, True), (0, True), (300, True), (301, False)])
def test_date_more_than_five_minutes_in_the_future_is_unknown(ahead: int, is_known: bool) -> None:
    date = NOW + timedelta(seconds=ahead)
    snapshot = make_event(SNAPSHOT_PUBLISHED, createdDate=isoformat(date))
    changed = make_event(CONTENT_ITEM_CREATED, lastModifiedDate=isoformat(date))
    kept, future = without_future_dates(snapshot, NOW)
    assert (kept.snapshot_created, future) == (
        (date, {}) if is_known else (None, {"snapshot_created": date})
    )
    kept, future = without_future_dates(changed, NOW)
    assert (kept.last_modified, bool(future)) == (date if is_known else None, not is_known)
