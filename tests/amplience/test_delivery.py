from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from app.amplience.delivery import (
    ContentMissing,
    ContentParameters,
    ContentRequest,
    DeliveredContent,
    DeliveryClient,
)
from app.errors import RateLimited, Refused, Unauthorized, Unavailable
from tests.amplience.conftest import Serve
from tests.servers import Received, Reply, json_reply

Connect = Callable[..., DeliveryClient]
ALL = ContentParameters()


def _echo(request: Received) -> Reply:
    """Each item's content names what it was asked by."""
    return json_reply({"responses": [{"content": asked} for asked in request.json["requests"]]})


def test_fetch_says_how_and_with_which_key(serve: Serve, delivery: Connect) -> None:
    server = serve(_echo)
    requests = [
        ContentRequest(id="a-1"),
        ContentRequest(key="home/banner", overrides=ContentParameters("root", "linked", "en-*,*")),
    ]
    delivery(server.url, "fresh-key").fetch(requests, ContentParameters(locale="fr-FR"))
    (request,) = server.received
    assert (request.method, request.path) == ("POST", "/content/fetch")
    assert request.headers["x-api-key"] == "fresh-key"
    assert request.json == {
        "parameters": {"depth": "all", "format": "inlined", "locale": "fr-FR"},
        "requests": [
            {"id": "a-1"},
            {
                "key": "home/banner",
                "overrides": {"depth": "root", "format": "linked", "locale": "en-*,*"},
            },
        ],
    }


def test_no_key_and_no_locale_are_left_out(serve: Serve, delivery: Connect) -> None:
    server = serve(_echo)
    delivery(server.url).fetch([ContentRequest(id="a")], ALL)
    assert "x-api-key" not in server.received[0].headers
    assert server.received[0].json["parameters"] == {"depth": "all", "format": "inlined"}


@pytest.mark.parametrize(
    ("count", "calls"), [(0, []), (1, [1]), (12, [12]), (13, [12, 1]), (30, [12, 12, 6])]
)
def test_items_are_fetched_by_twelve_and_keep_their_order(
    serve: Serve, delivery: Connect, count: int, calls: list[int]
) -> None:
    server = serve(_echo)
    ids = [f"item-{number}" for number in range(count)]
    results = delivery(server.url).fetch([ContentRequest(id=item) for item in ids], ALL)
    assert results == [DeliveredContent({"id": item}) for item in ids]
    assert [len(request.json["requests"]) for request in server.received] == calls


def test_each_entry_has_its_own_result(serve: Serve, delivery: Connect) -> None:
    entries: list[Any] = [
        {"content": {"n": 1}, "linkedContent": [{"n": 2}]},
        {"error": {"type": "CONTENT_NOT_FOUND", "message": "Not found", "data": {}}},
        {"error": {"type": "THROTTLED_REQUEST", "message": "Exceeded rate limit"}},
        {"error": {"type": "NEW_ERROR", "message": "odd"}},
        {},
        None,
    ]
    requests = [ContentRequest(id=str(number)) for number in range(len(entries))]
    client = delivery(serve(lambda _: json_reply({"responses": entries})).url)
    good, missing, throttled, new, *nothing = client.fetch(requests, ALL)
    assert good == DeliveredContent({"n": 1}, [{"n": 2}])
    assert missing == ContentMissing(requests[1])
    assert isinstance(throttled, RateLimited)
    assert isinstance(new, Unavailable)
    assert new.code == "NEW_ERROR"
    assert all(isinstance(result, Unavailable) for result in nothing)


@pytest.mark.parametrize(
    "answer",
    [{"responses": []}, {"responses": [{}, {}, {}]}, {"responses": None}, {}, [], None],
)
def test_wrong_count_of_answers_is_unavailable(
    serve: Serve, delivery: Connect, answer: Any
) -> None:
    client = delivery(serve(lambda _: json_reply(answer)).url)
    with pytest.raises(Unavailable, match="asked for 2 items"):
        client.fetch([ContentRequest(id="a"), ContentRequest(id="b")], ALL)


def test_missing_api_is_refused_and_not_missing_content(serve: Serve, delivery: Connect) -> None:
    with pytest.raises(Refused, match="check the hub's name") as caught:
        delivery(serve(lambda _: Reply(404)).url).fetch([ContentRequest(id="a")], ALL)
    assert caught.value.refusing


def test_api_key_is_never_quoted(serve: Serve, delivery: Connect) -> None:
    client = delivery(serve(lambda _: Reply(401, b"bad key: fresh-key")).url, "fresh-key")
    with pytest.raises(Unauthorized) as caught:
        client.fetch([ContentRequest(id="a")], ALL)
    assert "fresh-key" not in str(caught.value)


@pytest.mark.parametrize("key", ["a", "a/b", "A-Z_0/9", "a" * 150, "a//b"])
def test_delivery_keys_that_can_be(key: str) -> None:
    assert ContentRequest(key=key).as_json == {"key": key}


@pytest.mark.parametrize("key", ["", "/", "/a", "a/", "a b", "é", "a.b", "a\n", "a" * 151])
def test_delivery_keys_that_cannot_be(key: str) -> None:
    with pytest.raises(Refused):
        ContentRequest(key=key)


@pytest.mark.parametrize("item", ["", "a/b", "a b", "a\n"])
def test_ids_that_cannot_be(item: str) -> None:
    with pytest.raises(Refused):
        ContentRequest(id=item)


def test_exactly_one_of_id_and_key() -> None:
    with pytest.raises(Refused):
        ContentRequest()
    with pytest.raises(Refused):
        ContentRequest(id="a", key="a")


@pytest.mark.parametrize(
    "locale", ["en", "en-GB", "*", "en-*", "fr-FR,en-*,*", "zh-Hant-TW", "de_DE"]
)
def test_locale_lists_that_can_be(locale: str) -> None:
    assert ContentParameters(locale=locale).as_json["locale"] == locale


@pytest.mark.parametrize("locale", ["", ",", "en,", "en GB", "en, fr", "en-**", "-en", "e\n"])
def test_locale_lists_that_cannot_be(locale: str) -> None:
    with pytest.raises(Refused):
        ContentParameters(locale=locale)


@pytest.mark.parametrize("wrong", [{"depth": "1"}, {"depth": 2}, {"format": "inline"}])
def test_depth_and_format_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        ContentParameters(**wrong)
