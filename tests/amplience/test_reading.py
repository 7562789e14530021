"""One item by its id or key, with the depth, format and locale that GET takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from app.amplience.delivery import DeliveredContent, DeliveryClient, ReadParameters
from app.errors import NotFound, RateLimited, Refused, Unavailable
from tests.amplience.conftest import Serve
from tests.servers import Reply, json_reply

Connect = Callable[..., DeliveryClient]
CONTENT = {"content": {"_meta": {"deliveryId": "a"}}, "linkedContent": [{"n": 1}]}
MISSING = {"error": {"type": "CONTENT_NOT_FOUND", "message": "Not found", "data": {}}}


def test_item_is_read_by_id(serve: Serve, delivery: Connect) -> None:
    server = serve(lambda _: json_reply(CONTENT))
    parameters = ReadParameters(depth=3, format="linked", locale="fr-FR,en-*")
    found = delivery(server.url, "fresh-key").by_id("a-1", parameters)
    assert found == DeliveredContent(CONTENT["content"], CONTENT["linkedContent"])  # type: ignore[arg-type]
    (request,) = server.received
    assert (request.method, request.path) == ("GET", "/content/id/a-1")
    assert request.query == {"depth": ["3"], "format": ["linked"], "locale": ["fr-FR,en-*"]}
    assert request.headers["x-api-key"] == "fresh-key"


def test_item_is_read_by_key_with_its_slashes(serve: Serve, delivery: Connect) -> None:
    server = serve(lambda _: json_reply(CONTENT))
    delivery(server.url).by_key("home/spring/banner_1")
    (request,) = server.received
    assert request.path == "/content/key/home/spring/banner_1"
    assert request.query == {"depth": ["all"], "format": ["inlined"]}


def test_unpublished_item_is_not_found(serve: Serve, delivery: Connect) -> None:
    client = delivery(serve(lambda _: json_reply(MISSING, 404)).url)
    with pytest.raises(NotFound):
        client.by_id("a")
    with pytest.raises(NotFound):
        client.by_key("a")


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"error": {"type": "NO_SUCH_HUB"}}'])
def test_other_404_says_nothing_of_the_item(serve: Serve, delivery: Connect, body: bytes) -> None:
    with pytest.raises(Refused, match="check the hub's name"):
        delivery(serve(lambda _: Reply(404, body)).url).by_id("a")


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (json_reply({"error": {"type": "THROTTLED_REQUEST"}}, 429), RateLimited),
        (Reply(500, b"Internal error"), Unavailable),
        (json_reply({}), Unavailable),
        (json_reply({"content": []}), Unavailable),
        (json_reply({"error": {"type": "THROTTLED_REQUEST"}}), RateLimited),
    ],
)
def test_answer_without_content_is_an_error(
    serve: Serve, delivery: Connect, reply: Reply, kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        delivery(serve(lambda _: reply).url).by_id("a")


@pytest.mark.parametrize("wrong", ["", "a/b", "a b", "a\n"])
def test_wrong_id_is_refused_before_any_call(serve: Serve, delivery: Connect, wrong: str) -> None:
    server = serve(lambda _: json_reply(CONTENT))
    with pytest.raises(Refused):
        delivery(server.url).by_id(wrong)
    assert server.received == []


@pytest.mark.parametrize("wrong", ["", "/a", "a/", "a b", "é", "../a", "a" * 151])
def test_wrong_key_is_refused_before_any_call(serve: Serve, delivery: Connect, wrong: str) -> None:
    server = serve(lambda _: json_reply(CONTENT))
    with pytest.raises(Refused):
        delivery(server.url).by_key(wrong)
    assert server.received == []


@pytest.mark.parametrize("depth", ["root", "all", 0, 1, 22])
def test_depths_that_can_be(depth: Any) -> None:
    assert ReadParameters(depth=depth).as_query["depth"] == str(depth)


@pytest.mark.parametrize("depth", [-1, 23, "1", "", None, True, 1.0])
def test_depths_that_cannot_be(depth: Any) -> None:
    with pytest.raises(Refused):
        ReadParameters(depth=depth)


@pytest.mark.parametrize("wrong", [{"format": "inline"}, {"locale": "en GB"}, {"locale": ""}])
def test_formats_and_locales_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        ReadParameters(**wrong)
