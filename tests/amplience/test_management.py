from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from app.amplience.answers import content_item
from app.amplience.management import ManagementClient
from app.config import ClientCredentials, PersonalAccessToken
from app.errors import NotFound, Refused, Unauthorized, Unavailable, VersionConflict
from tests.amplience.conftest import Clock, Serve
from tests.servers import Received, Reply, json_reply

Connect = Callable[..., ManagementClient]

ITEM_ID = "5b0e6d3a-7c1f-4c0e-9e55-1f2a3b4c5d6e"
ITEM = {
    "id": ITEM_ID,
    "version": 3,
    "label": "Spring banner",
    "locale": "en-GB",
    "status": "ACTIVE",
    "contentRepositoryId": "65f1a0c2d3e4f50001a2b409",
    "publishingStatus": "LATEST",
    "lastModifiedDate": "2025-03-03T11:00:00.000Z",
    "body": {"_meta": {"schema": "https://schema.example.com/banner.json", "deliveryKey": "a/b"}},
    "somethingNew": {"a": 1},
}


def _page(rel: str, entries: list[Any], *, number: int, pages: int) -> Reply:
    return json_reply(
        {"_embedded": {rel: entries}, "page": {"number": number, "totalPages": pages}}
    )


def test_content_item_is_read_whole(serve: Serve, management: Connect) -> None:
    server = serve(lambda _: json_reply(ITEM))
    item = management(server.url).content_item(ITEM_ID)
    assert (item.id, item.version, item.label, item.locale) == (
        ITEM_ID,
        3,
        "Spring banner",
        "en-GB",
    )
    assert (item.status, item.publishing_status) == ("ACTIVE", "LATEST")
    assert item.repository_id == "65f1a0c2d3e4f50001a2b409"
    assert item.schema == "https://schema.example.com/banner.json"
    assert item.delivery_key == "a/b"
    assert item.last_modified == datetime(2025, 3, 3, 11, tzinfo=UTC)
    assert item.extra["somethingNew"] == {"a": 1}
    (request,) = server.received
    assert request.path == f"/v2/content/content-items/{ITEM_ID}"
    assert request.headers["authorization"] == "Bearer amp_pat_1"


def test_content_item_needs_only_id_and_version() -> None:
    item = content_item({"id": "a", "version": 1, "label": None, "body": None})
    assert (item.label, item.locale, item.schema, item.body) == (None, None, None, {})


@pytest.mark.parametrize(
    ("meta", "key"),
    [
        ({"deliveryKeys": {"values": [{"value": "k1"}, {"value": "k2"}]}}, "k1"),
        ({"deliveryKey": None, "deliveryKeys": {"values": []}}, None),
        ({"deliveryKeys": None}, None),
        ({"deliveryKeys": {"values": "odd"}}, None),
        (None, None),
    ],
)
def test_delivery_key_is_found_in_each_form(meta: Any, key: str | None) -> None:
    assert content_item({"id": "a", "version": 1, "body": {"_meta": meta}}).delivery_key == key


@pytest.mark.parametrize(
    "answer",
    [None, [], {}, {"id": "a"}, {"id": "", "version": 1}, {"id": "a", "version": "x"}, "text"],
)
def test_what_is_no_content_item_is_unavailable(
    serve: Serve, management: Connect, answer: Any
) -> None:
    with pytest.raises(Unavailable, match="no content item"):
        management(serve(lambda _: json_reply(answer)).url).content_item(ITEM_ID)


@pytest.mark.parametrize("item_id", ["", "..", "a/b", "a?b", "a b", "a%2fb", "a\n", "é", "a" * 101])
def test_ids_that_are_none_never_reach_a_path(
    serve: Serve, management: Connect, item_id: str
) -> None:
    server = serve(lambda _: json_reply(ITEM))
    client = management(server.url)
    for verb in (client.content_item, client.localizations, client.hub, client.localization_jobs):
        with pytest.raises(Refused, match="no id"):
            verb(item_id)
    assert server.received == []


def test_localizations_are_read_over_all_pages(serve: Serve, management: Connect) -> None:
    def answer(request: Received) -> Reply:
        number = int(request.query["page"][0])
        entries = [{"id": f"v{number}", "version": 1}, {"id": "repeated", "version": 1}]
        return _page("content-items", entries, number=number, pages=3)

    server = serve(answer)
    found = management(server.url).localizations(ITEM_ID)
    assert [item.id for item in found] == ["v0", "repeated", "v1", "v2"]
    assert [request.query["size"] for request in server.received] == [["100"]] * 3
    assert server.received[0].path == f"/v2/content/content-items/{ITEM_ID}/localizations"


@pytest.mark.parametrize(
    "answer",
    [{}, {"_embedded": {}}, {"page": {"totalPages": 0}}, {"_embedded": None}, None],
)
def test_no_localizations_may_lack_everything(
    serve: Serve, management: Connect, answer: Any
) -> None:
    server = serve(lambda _: json_reply(answer))
    assert management(server.url).localizations(ITEM_ID) == []
    assert len(server.received) == 1


def test_pages_without_a_count_end_with_a_short_one(serve: Serve, management: Connect) -> None:
    def answer(request: Received) -> Reply:
        count = 100 if request.query["page"] == ["0"] else 1
        start = request.query["page"][0]
        entries = [{"id": f"v{start}-{n}", "version": 1} for n in range(count)]
        return json_reply({"_embedded": {"content-items": entries}})

    assert len(management(serve(answer).url).localizations(ITEM_ID)) == 101


def test_localize_sends_version_and_locales_and_needs_no_body_back(
    serve: Serve, management: Connect
) -> None:
    server = serve(lambda _: Reply(202))
    client = management(server.url)
    client.localize(ITEM_ID, version=3, locales=("fr-FR", "de-DE"))
    client.localize(ITEM_ID, version=3, locales=("fr-FR",), replicate_folder_structure=True)
    first, second = server.received
    assert (first.method, first.path) == ("POST", f"/v2/content/content-items/{ITEM_ID}/localize")
    assert first.json == {"version": 3, "locales": ["fr-FR", "de-DE"]}
    assert second.json["replicateFolderStructure"] is True


def test_localize_that_may_have_arrived_says_so(serve: Serve, management: Connect) -> None:
    with pytest.raises(Unavailable) as caught:
        management(serve(lambda _: Reply(502)).url).localize(ITEM_ID, version=1, locales=["fr-FR"])
    assert caught.value.maybe_done


def test_old_version_is_a_conflict(serve: Serve, management: Connect) -> None:
    body = {"errors": [{"code": "CONTENT_ITEM_VERSION_NOT_LATEST", "message": "No."}]}
    with pytest.raises(VersionConflict):
        management(serve(lambda _: json_reply(body, 409)).url).localize(
            ITEM_ID, version=1, locales=["fr-FR"]
        )


def test_set_locale_gives_the_item_with_its_new_version(serve: Serve, management: Connect) -> None:
    server = serve(lambda _: json_reply(ITEM | {"version": 4}))
    item = management(server.url).set_locale(ITEM_ID, version=3, locale="en-GB")
    assert item.version == 4
    (request,) = server.received
    assert (request.method, request.path) == ("POST", f"/v2/content/content-items/{ITEM_ID}/locale")
    assert request.json == {"locale": "en-GB", "version": 3}


def test_hubs_are_listed_with_their_locales(serve: Serve, management: Connect) -> None:
    hubs = [
        {"id": "h1", "name": "one", "settings": {"localization": {"locales": ["en-GB", "nl"]}}},
        {"id": "h2", "settings": None},
    ]
    client = management(serve(lambda _: _page("hubs", hubs, number=0, pages=1)).url)
    assert [(hub.id, hub.name, hub.locales) for hub in client.hubs()] == [
        ("h1", "one", ("en-GB", "nl")),
        ("h2", None, ()),
    ]


def test_localization_jobs_are_listed(serve: Serve, management: Connect) -> None:
    job = {"status": "IN_PROGRESS", "requestedLocales": ["fr-FR"]}
    server = serve(lambda _: _page("localization-jobs", [job], number=0, pages=1))
    (found,) = management(server.url).localization_jobs(ITEM_ID)
    assert (found.status, found.requested_locales) == ("IN_PROGRESS", ("fr-FR",))
    assert server.received[0].query["id"] == [ITEM_ID]


def _locales(group: Reply, hub: Reply) -> Callable[[Received], Reply]:
    return lambda request: group if "localization-group" in request.path else hub


HUB = json_reply({"id": "h1", "settings": {"localization": {"locales": ["en-GB", "nl-NL"]}}})


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        (json_reply({"locales": ["en-GB", "fr-FR"]}), ("en-GB", "fr-FR")),
        (json_reply({"locales": []}), ("en-GB", "nl-NL")),
        (json_reply({}), ("en-GB", "nl-NL")),
        (Reply(404), ("en-GB", "nl-NL")),
        (Reply(405), ("en-GB", "nl-NL")),
    ],
)
def test_allowed_locales_are_the_groups_else_the_hubs(
    serve: Serve, management: Connect, group: Reply, expected: tuple[str, ...]
) -> None:
    server = serve(_locales(group, HUB))
    assert management(server.url).allowed_locales("r1", "h1") == expected
    assert (
        server.received[0].path == "/v2/content/content-repositories/r1/localization-group/locales"
    )


def test_allowed_locales_are_remembered_for_five_minutes(
    serve: Serve, management: Connect, clock: Clock
) -> None:
    server = serve(_locales(json_reply({"locales": ["fr-FR"]}), HUB))
    client = management(server.url)
    client.allowed_locales("r1", "h1")
    clock.now += 299
    client.allowed_locales("r1", "h1")
    assert len(server.received) == 1
    client.allowed_locales("r2", "h1")
    assert len(server.received) == 2
    clock.now += 2
    client.allowed_locales("r1", "h1")
    assert len(server.received) == 3


def test_failure_to_learn_the_locales_is_no_empty_list(serve: Serve, management: Connect) -> None:
    client = management(serve(_locales(Reply(503), HUB)).url)
    with pytest.raises(Unavailable):
        client.allowed_locales("r1", "h1")
    lost = management(serve(_locales(Reply(404), HUB)).url)
    with pytest.raises(NotFound):
        lost.allowed_locales("r1")
    with pytest.raises(Refused):
        lost.allowed_locales(None)


CLIENT = ClientCredentials("id", "secret")


def _guarded(good: set[str]) -> tuple[Callable[[Received], Reply], list[str]]:
    """A server that gives token-1, token-2, ... and accepts only the `good` ones."""
    given: list[str] = []

    def answer(request: Received) -> Reply:
        if request.path == "/oauth/token":
            given.append(f"token-{len(given) + 1}")
            return json_reply({"access_token": given[-1], "expires_in": 300})
        token = request.headers["authorization"].removeprefix("Bearer ")
        return json_reply(ITEM) if token in good else Reply(403)

    return answer, given


def test_expired_token_is_renewed_once(serve: Serve, management: Connect) -> None:
    answer, given = _guarded({"token-2"})
    assert management(serve(answer).url, CLIENT).content_item(ITEM_ID).version == 3
    assert given == ["token-1", "token-2"]


def test_missing_permission_is_permanent_after_one_fresh_token(
    serve: Serve, management: Connect
) -> None:
    answer, given = _guarded(set())
    server = serve(answer)
    with pytest.raises(Unauthorized) as caught:
        management(server.url, CLIENT).content_item(ITEM_ID)
    assert given == ["token-1", "token-2"]
    assert len(server.received) == 4
    assert not caught.value.transient


def test_many_forbidden_calls_take_one_fresh_token(serve: Serve, management: Connect) -> None:
    answer, given = _guarded(set())
    client = management(serve(answer).url, CLIENT)
    for _ in range(20):
        with pytest.raises(Unauthorized):
            client.content_item(ITEM_ID)
    assert given == ["token-1", "token-2"]


def test_personal_access_token_is_not_tried_twice(serve: Serve, management: Connect) -> None:
    server = serve(lambda _: Reply(403, b"no amp_pat_secret"))
    client = management(server.url, PersonalAccessToken("amp_pat_secret"))
    with pytest.raises(Unauthorized) as caught:
        client.content_item(ITEM_ID)
    assert len(server.received) == 1
    assert "amp_pat_secret" not in str(caught.value)


def test_link_to_another_host_is_never_followed(serve: Serve, management: Connect) -> None:
    other = serve(lambda _: json_reply(ITEM))
    links = {"_links": {"self": {"href": other.url}, "next": {"href": f"{other.url}/next"}}}
    client = management(serve(lambda _: json_reply(ITEM | links)).url)
    client.content_item(ITEM_ID)
    client.localizations(ITEM_ID)
    assert other.received == []
