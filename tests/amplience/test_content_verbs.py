"""Repositories, lists of items, snapshots and archiving, in all the forms that answers come in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from app.amplience.management import ManagementClient
from app.errors import NotFound, Refused, Unavailable, VersionConflict
from tests.amplience.conftest import Serve
from tests.servers import Received, Reply, json_reply

Connect = Callable[..., ManagementClient]

HUB = "66a10b0000000000000000aa"
REPOSITORY = "65f1a0c2d3e4f50001a2b409"
SNAPSHOT = "65f1a0c2d3e4f50001a2b505"
ITEM = "5b0e6d3a-7c1f-4c0e-9e55-1f2a3b4c5d6e"
NOTHING = [{}, {"_embedded": {}}, {"page": {"totalPages": 0}}, {"_embedded": None}, None]


def test_repositories_are_read_over_all_pages(serve: Serve, management: Connect) -> None:
    def answer(request: Received) -> Reply:
        number = int(request.query["page"][0])
        entry = {"id": f"r{number}", "name": "content", "features": ["slots"], "type": "CONTENT"}
        entry |= {"itemLocales": ["en-GB"]}
        return json_reply(
            {"_embedded": {"content-repositories": [entry]}, "page": {"totalPages": 2}}
        )

    server = serve(answer)
    found = management(server.url).content_repositories(HUB)
    assert [one.id for one in found] == ["r0", "r1"]
    assert (found[0].features, found[0].locales, found[0].type) == (
        ("slots",),
        ("en-GB",),
        "CONTENT",
    )
    assert server.received[0].path == f"/v2/content/hubs/{HUB}/content-repositories"


@pytest.mark.parametrize("answer", NOTHING)
def test_empty_lists_may_lack_everything(serve: Serve, management: Connect, answer: Any) -> None:
    client = management(serve(lambda _: json_reply(answer)).url)
    assert client.content_repositories(HUB) == []
    assert list(client.content_items(REPOSITORY)) == []
    assert client.webhooks(HUB) == []


def test_items_are_listed_without_bodies_and_only_as_far_as_wanted(
    serve: Serve, management: Connect
) -> None:
    def answer(request: Received) -> Reply:
        number = request.query["page"][0]
        entries = [{"id": f"i{number}-{n}", "version": 1} for n in range(2)]
        return json_reply({"_embedded": {"content-items": entries}, "page": {"totalPages": 9}})

    server = serve(answer)
    items = management(server.url).content_items(REPOSITORY, status="ARCHIVED")
    assert [next(items).id for _ in range(3)] == ["i0-0", "i0-1", "i1-0"]
    first, _ = server.received
    assert first.path == f"/v2/content/content-repositories/{REPOSITORY}/content-items"
    assert first.query == {
        "projection": ["basic"],
        "status": ["ARCHIVED"],
        "page": ["0"],
        "size": ["100"],
    }


def test_snapshot_names_its_root(serve: Serve, management: Connect) -> None:
    body = {"id": SNAPSHOT, "rootContentItem": {"id": ITEM}, "createdDate": "2025-03-03T11:00:00Z"}
    server = serve(lambda _: json_reply(body))
    snapshot = management(server.url).snapshot(SNAPSHOT)
    assert (snapshot.id, snapshot.root_item_id) == (SNAPSHOT, ITEM)
    assert snapshot.created is not None
    assert server.received[0].path == f"/v2/content/snapshots/{SNAPSHOT}"


@pytest.mark.parametrize("root", [None, {}, {"id": None}, {"id": ""}, "odd"])
def test_snapshot_may_lack_its_root(serve: Serve, management: Connect, root: Any) -> None:
    server = serve(lambda _: json_reply({"id": SNAPSHOT, "rootContentItem": root}))
    assert management(server.url).snapshot(SNAPSHOT).root_item_id is None


def test_item_of_a_snapshot_is_read_from_it(serve: Serve, management: Connect) -> None:
    server = serve(lambda _: json_reply({"id": ITEM, "version": 4}))
    assert management(server.url).snapshot_item(SNAPSHOT, ITEM).version == 4
    assert server.received[0].path == f"/v2/content/snapshots/{SNAPSHOT}/content-items/{ITEM}"


@pytest.mark.parametrize("verb", ["archive", "unarchive"])
def test_archiving_sends_the_version_and_gives_the_next(
    serve: Serve, management: Connect, verb: str
) -> None:
    server = serve(lambda _: json_reply({"id": ITEM, "version": 5, "status": "ARCHIVED"}))
    assert getattr(management(server.url), verb)(ITEM, version=4).version == 5
    (request,) = server.received
    assert (request.method, request.path) == ("POST", f"/v2/content/content-items/{ITEM}/{verb}")
    assert request.json == {"version": 4}


def test_archiving_an_old_version_is_a_conflict(serve: Serve, management: Connect) -> None:
    body = {"errors": [{"code": "CONTENT_ITEM_VERSION_NOT_LATEST", "message": "No."}]}
    with pytest.raises(VersionConflict):
        management(serve(lambda _: json_reply(body, 409)).url).archive(ITEM, version=1)


def test_taken_delivery_key_is_no_conflict_of_versions(serve: Serve, management: Connect) -> None:
    body = {"errors": [{"code": "CONTENT_ITEM_DELIVERY_KEY_DUPLICATE", "message": "Taken"}]}
    with pytest.raises(Refused) as caught:
        management(serve(lambda _: json_reply(body, 409)).url).unarchive(ITEM, version=1)
    assert caught.value.code == "CONTENT_ITEM_DELIVERY_KEY_DUPLICATE"


def test_what_is_not_there_is_not_found(serve: Serve, management: Connect) -> None:
    client = management(serve(lambda _: Reply(404)).url)
    for ask in (
        lambda: client.content_repositories(HUB),
        lambda: next(client.content_items(REPOSITORY)),
        lambda: client.snapshot(SNAPSHOT),
        lambda: client.snapshot_item(SNAPSHOT, ITEM),
    ):
        with pytest.raises(NotFound):
            ask()


def test_answer_without_an_id_is_unavailable(serve: Serve, management: Connect) -> None:
    client = management(serve(lambda _: json_reply({"name": "odd"})).url)
    for ask in (
        lambda: client.snapshot(SNAPSHOT),
        lambda: client.publishing_job("65f1a0c2d3e4f50001a2b506"),
        lambda: client.webhook(HUB, "65f1a0c2d3e4f50001a2b507"),
    ):
        with pytest.raises(Unavailable):
            ask()


@pytest.mark.parametrize("wrong", ["", "..", "a/b", "a?b", "a b"])
def test_no_verb_lets_a_wrong_id_into_a_path(serve: Serve, management: Connect, wrong: str) -> None:
    server = serve(lambda _: json_reply({}))
    client = management(server.url)
    for ask in (
        lambda: client.content_repositories(wrong),
        lambda: next(client.content_items(wrong)),
        lambda: client.snapshot(wrong),
        lambda: client.snapshot_item(SNAPSHOT, wrong),
        lambda: client.archive(wrong, version=1),
        lambda: client.unarchive(wrong, version=1),
        lambda: client.publish(wrong),
        lambda: client.publishing_job(wrong),
        lambda: client.unpublish(wrong),
        lambda: client.webhooks(wrong),
        lambda: client.webhook(HUB, wrong),
        lambda: client.create_webhook(wrong, label="x", events=(), handlers=()),
        lambda: client.update_webhook(HUB, wrong, {}),
        lambda: client.delete_webhook(HUB, wrong),
        lambda: client.webhook_requests(HUB, wrong),
        lambda: client.webhook_event_types(wrong),
    ):
        with pytest.raises(Refused, match="no id"):
            ask()
    assert server.received == []
