"""The filter: its rules are checked before it is asked, and its pages are followed to the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from app.amplience import delivery as delivery_module
from app.amplience.delivery import ContentParameters, DeliveryClient
from app.amplience.filtering import FilterQuery
from app.errors import RateLimited, Refused, Unavailable
from tests.amplience.conftest import Serve
from tests.servers import Received, Reply, json_reply

Connect = Callable[..., DeliveryClient]
SCHEMA = ("/_meta/schema", "https://schema.example.com/article.json")
ARTICLES = FilterQuery(where=(SCHEMA,))


def test_filter_sends_what_it_was_made_of(serve: Serve, delivery: Connect) -> None:
    server = serve(lambda _: json_reply({"responses": [], "page": {"responseCount": 0}}))
    query = FilterQuery(
        where=(SCHEMA, ("/rank", 4), ("/live", True), ("/a~1b/0", "x")),
        sort_key="date",
        descending=True,
        size=5,
    )
    page = delivery(server.url, "fresh-key").filter(query, ContentParameters("root"), cursor="c1")
    assert (page.contents, page.cursor) == ((), None)
    (request,) = server.received
    assert (request.method, request.path) == ("POST", "/content/filter")
    assert request.headers["x-api-key"] == "fresh-key"
    assert request.json == {
        "filterBy": [
            {"path": "/_meta/schema", "value": SCHEMA[1]},
            {"path": "/rank", "value": 4},
            {"path": "/live", "value": True},
            {"path": "/a~1b/0", "value": "x"},
        ],
        "sortBy": {"key": "date", "order": "DESC"},
        "page": {"size": 5, "cursor": "c1"},
        "parameters": {"depth": "root", "format": "inlined"},
    }


def test_nothing_is_sent_of_what_was_not_asked(serve: Serve, delivery: Connect) -> None:
    server = serve(lambda _: json_reply({"responses": []}))
    delivery(server.url).filter(ARTICLES, ContentParameters())
    assert "sortBy" not in server.received[0].json
    assert server.received[0].json["page"] == {"size": 12}


def _pages(*cursors: str | None) -> Callable[[Received], Reply]:
    def answer(request: Received) -> Reply:
        asked = request.json["page"].get("cursor")
        number = 0 if asked is None else cursors.index(asked) + 1
        page = {"responseCount": 1} | ({"nextCursor": cursors[number]} if cursors[number] else {})
        return json_reply({"responses": [{"content": {"n": number}}], "page": page})

    return answer


def test_pages_are_followed_with_the_same_body_to_the_end(serve: Serve, delivery: Connect) -> None:
    server = serve(_pages("c1", "c2", None))
    found = list(delivery(server.url).filter_all(ARTICLES, ContentParameters(locale="en-*")))
    assert [one.content["n"] for one in found] == [0, 1, 2]
    bodies = [request.json for request in server.received]
    assert [body["page"].pop("cursor", None) for body in bodies] == [None, "c1", "c2"]
    assert bodies[0] == bodies[1] == bodies[2]


def test_reading_can_go_on_at_a_cursor(serve: Serve, delivery: Connect) -> None:
    client = delivery(serve(_pages("c1", "c2", None)).url)
    pages = list(client.filter_pages(ARTICLES, ContentParameters(), cursor="c1"))
    assert [page.contents[0].content["n"] for page in pages] == [1, 2]
    assert [page.cursor for page in pages] == ["c2", None]


def test_cursor_that_repeats_is_no_endless_loop(serve: Serve, delivery: Connect) -> None:
    same = json_reply({"responses": [], "page": {"nextCursor": "c1"}})
    with pytest.raises(Unavailable, match="same cursor"):
        list(delivery(serve(lambda _: same).url).filter_all(ARTICLES, ContentParameters()))


def test_pages_without_end_end(
    serve: Serve, delivery: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_module, "MOST_FILTER_PAGES", 3)

    def answer(request: Received) -> Reply:
        number = int(request.json["page"].get("cursor", "0"))
        return json_reply({"responses": [], "page": {"nextCursor": str(number + 1)}})

    server = serve(answer)
    with pytest.raises(Unavailable, match="more than 3 pages"):
        list(delivery(server.url).filter_all(ARTICLES, ContentParameters()))
    assert len(server.received) == 3


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (json_reply({}), Unavailable),
        (json_reply({"responses": [{"error": {"type": "ODD"}}]}), Unavailable),
        (json_reply({"error": {"type": "REQUEST_PROPERTY_VALUE_INVALID"}}, 400), Refused),
        (json_reply({"error": {"type": "THROTTLED_REQUEST"}}, 429), RateLimited),
        (Reply(404), Refused),
    ],
)
def test_answer_that_is_no_page_is_an_error(
    serve: Serve, delivery: Connect, answer: Reply, kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        delivery(serve(lambda _: answer).url).filter(ARTICLES, ContentParameters())


@pytest.mark.parametrize(
    "wrong",
    [
        {"where": ()},
        {"where": tuple((f"/p{n}", n) for n in range(7))},
        {"where": (("schema", "x"),)},
        {"where": (("", "x"),)},
        {"where": (("/a~2", "x"),)},
        {"where": (("/a~", "x"),)},
        {"where": (("/a", None),)},
        {"where": (("/a", ["x"]),)},
        {"where": (SCHEMA,), "size": 0},
        {"where": (SCHEMA,), "size": 13},
        {"where": (SCHEMA,), "sort_key": ""},
    ],
)
def test_filters_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        FilterQuery(**wrong)


def test_six_paths_and_twelve_items_can_be() -> None:
    query = FilterQuery(where=tuple((f"/p{n}", n) for n in range(6)), size=12)
    assert len(query.as_json["filterBy"]) == 6


def test_order_without_a_key_is_that_of_the_default_sort() -> None:
    assert FilterQuery(where=(SCHEMA,), descending=True).as_json["sortBy"] == {
        "key": "default",
        "order": "DESC",
    }
