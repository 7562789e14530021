"""The search by facets: what is asked, and what its answers hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from app.amplience.facets import FacetField, FacetQuery
from app.amplience.management import ManagementClient
from app.errors import NotFound, Refused, Unavailable
from tests.amplience.conftest import Serve
from tests.servers import Received, Reply, json_reply

Connect = Callable[..., ManagementClient]
HUB = "66a10b0000000000000000aa"
ARCHIVED = FacetQuery(
    having=(("status", "ARCHIVED"), ("contentRepositoryId", "r1")),
    fields=(
        FacetField("publishingStatus", ("LATEST", "EARLY")),
        FacetField("locale", ("fr-FR",), "EXCLUDES"),
        FacetField("schema"),
    ),
    sort="lastModifiedDate,desc",
)


def test_query_fields_and_page_are_sent(serve: Serve, management: Connect) -> None:
    server = serve(lambda _: json_reply({}))
    management(server.url).facet(HUB, ARCHIVED, page=3, size=50)
    (request,) = server.received
    assert (request.method, request.path) == ("POST", f"/v2/content/hubs/{HUB}/content-items/facet")
    assert request.query == {
        "page": ["3"],
        "size": ["50"],
        "query": ['status:"ARCHIVED"contentRepositoryId:"r1"'],
        "sort": ["lastModifiedDate,desc"],
    }
    assert request.json == {
        "returnEntities": True,
        "fields": [
            {
                "facetAs": "ENUM",
                "field": "publishingStatus",
                "filter": {"type": "IN", "values": ["LATEST", "EARLY"]},
            },
            {
                "facetAs": "ENUM",
                "field": "locale",
                "filter": {"type": "EXCLUDES", "values": ["fr-FR"]},
            },
            {"facetAs": "ENUM", "field": "schema"},
        ],
    }


def test_found_items_have_no_body_and_may_have_no_version(
    serve: Serve, management: Connect
) -> None:
    entries = [
        {
            "id": "a",
            "version": 3,
            "schema": "https://s.example/a",
            "deliveryKey": "k",
            "body": None,
        },
        {"id": "b"},
    ]
    body = {
        "_embedded": {"content-items": entries},
        "page": {"totalPages": 1, "totalElements": 2},
        "_facets": {
            "publishingStatus": [{"_id": "LATEST", "count": 2}, {"count": 1}, "odd"],
            "odd": None,
        },
    }
    page = management(serve(lambda _: json_reply(body)).url).facet(HUB, ARCHIVED)
    first, second = page.items
    assert (first.version, first.schema, first.delivery_key) == (3, "https://s.example/a", "k")
    assert second.version == 0
    assert (page.number, page.pages, page.total) == (0, 1, 2)
    assert page.counts == {"publishingStatus": {"LATEST": 2}}


@pytest.mark.parametrize("answer", [{}, {"_embedded": None, "_facets": None}, None, []])
def test_nothing_found_may_lack_everything(serve: Serve, management: Connect, answer: Any) -> None:
    page = management(serve(lambda _: json_reply(answer)).url).facet(HUB, FacetQuery())
    assert (page.items, page.pages, page.total, page.counts) == ((), None, None, {})


def _numbered(pages: int | None, counts: dict[int, int]) -> Callable[[Received], Reply]:
    def answer(request: Received) -> Reply:
        number = int(request.query["page"][0])
        entries = [{"id": f"{number}-{n}"} for n in range(counts.get(number, 0))]
        found: dict[str, Any] = {"_embedded": {"content-items": entries}}
        return json_reply(found | ({"page": {"totalPages": pages}} if pages is not None else {}))

    return answer


@pytest.mark.parametrize(
    ("answer", "start", "found"),
    [
        (_numbered(3, {0: 2, 1: 2, 2: 1}), 0, 5),
        (_numbered(3, {0: 2, 1: 2, 2: 1}), 2, 1),
        (_numbered(0, {}), 0, 0),
        # Without a count a short page is the last one.
        (_numbered(None, {0: 100, 1: 4}), 0, 104),
    ],
)
def test_all_that_is_found_is_read_from_a_page_on(
    serve: Serve,
    management: Connect,
    answer: Callable[[Received], Reply],
    start: int,
    found: int,
) -> None:
    client = management(serve(answer).url)
    assert len(list(client.facet_all(HUB, FacetQuery(), page=start))) == found


def test_search_may_be_made_again_after_a_lost_answer(serve: Serve, management: Connect) -> None:
    client = management(serve(lambda _: Reply(503)).url)
    with pytest.raises(Unavailable) as caught:
        client.facet(HUB, FacetQuery())
    assert not caught.value.maybe_done


def test_unknown_hub_is_not_found(serve: Serve, management: Connect) -> None:
    with pytest.raises(NotFound):
        management(serve(lambda _: Reply(404)).url).facet(HUB, FacetQuery())


@pytest.mark.parametrize("having", [("label", 'a"b'), ('st"atus', "ACTIVE")])
def test_quotation_marks_cannot_be_searched_for(having: tuple[str, str]) -> None:
    with pytest.raises(Refused):
        FacetQuery(having=(having,))
