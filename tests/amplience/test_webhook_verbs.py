"""The webhooks of a hub: what is sent to keep them, and what comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from app.amplience.management import ManagementClient
from app.errors import NotFound
from tests.amplience.conftest import Serve
from tests.servers import Received, Reply, json_reply

Connect = Callable[..., ManagementClient]
HUB, HOOK = "66a10b0000000000000000aa", "65f1a0c2d3e4f50001a2b507"
PATH = f"/v2/content/hubs/{HUB}/webhooks"
WEBHOOK = {
    "id": HOOK,
    "label": "dc-relay",
    "events": ["dynamic-content.snapshot.published"],
    "active": True,
    "handlers": ["https://relay.example/webhooks"],
    "notifications": [{"email": None}],
    "secret": "the-secret",
    "createdDate": "2025-03-03T11:00:00.000Z",
    "headers": [{"key": "X-Key", "value": None, "secret": True}],
    "method": "POST",
}


def test_webhooks_are_listed(serve: Serve, management: Connect) -> None:
    body = {"_embedded": {"webhooks": [WEBHOOK, {"id": "b", "active": None}]}}
    server = serve(lambda _: json_reply(body))
    first, second = management(server.url).webhooks(HUB)
    assert (first.id, first.label, first.active, first.method) == (HOOK, "dc-relay", True, "POST")
    assert first.events == ("dynamic-content.snapshot.published",)
    assert first.handlers == ("https://relay.example/webhooks",)
    assert first.secret == "the-secret"
    assert (second.active, second.secret, second.events) == (None, None, ())
    assert server.received[0].path == PATH


def test_secret_is_not_shown(serve: Serve, management: Connect) -> None:
    webhook = management(serve(lambda _: json_reply(WEBHOOK)).url).webhook(HUB, HOOK)
    assert "the-secret" not in repr(webhook)


def test_webhook_is_made_with_what_is_given(serve: Serve, management: Connect) -> None:
    server = serve(lambda _: json_reply(WEBHOOK, 201))
    client = management(server.url)
    events, handlers = ["dynamic-content.snapshot.published"], ["https://relay.example/webhooks"]
    rule = {"type": "equal", "arguments": [{"jsonPath": "$.payload.id"}, {"value": "a"}]}
    made = client.create_webhook(HUB, label="dc-relay", events=events, handlers=handlers)
    assert made.id == HOOK
    client.create_webhook(
        HUB, label="x", events=events, handlers=handlers, secret="s", active=False, filters=[rule]
    )
    first, second = server.received
    assert (first.method, first.path) == ("POST", PATH)
    assert first.json == {
        "label": "dc-relay",
        "events": events,
        "handlers": handlers,
        "active": True,
        "method": "POST",
    }
    assert (second.json["secret"], second.json["active"]) == ("s", False)
    assert second.json["filters"] == [rule]


def test_only_changes_are_sent(serve: Serve, management: Connect) -> None:
    server = serve(lambda _: json_reply(WEBHOOK))
    management(server.url).update_webhook(HUB, HOOK, {"active": False})
    (request,) = server.received
    assert (request.method, request.path) == ("PATCH", f"{PATH}/{HOOK}")
    assert request.json == {"active": False}


def test_webhook_is_deleted_alone(serve: Serve, management: Connect) -> None:
    server = serve(lambda _: Reply(204))
    management(server.url).delete_webhook(HUB, HOOK)
    (request,) = server.received
    assert (request.method, request.path, request.body) == ("DELETE", f"{PATH}/{HOOK}", b"")


def test_unknown_webhook_is_not_found(serve: Serve, management: Connect) -> None:
    client = management(serve(lambda _: Reply(404)).url)
    for ask in (client.webhook, client.delete_webhook, client.webhook_requests):
        with pytest.raises(NotFound):
            ask(HUB, HOOK)


@pytest.mark.parametrize(
    ("answer", "cursor"),
    [
        ({"page": {"cursor": "c1"}}, "c1"),
        ({"page": {"nextCursor": "c2"}}, "c2"),
        ({"_links": {"next": {"href": "https://elsewhere.example/x?cursor=c%203&limit=2"}}}, "c 3"),
        ({"_links": {"next": {"href": "https://elsewhere.example/x"}}}, None),
        ({"page": {"cursor": ""}}, None),
        ({"page": {"cursor": 1}}, None),
        ({}, None),
        (None, None),
    ],
)
def test_cursor_of_the_log_is_found_wherever_it_is(
    serve: Serve, management: Connect, answer: Any, cursor: str | None
) -> None:
    page = management(serve(lambda _: json_reply(answer)).url).webhook_requests(HUB, HOOK)
    assert (page.requests, page.cursor) == ((), cursor)


def test_log_is_asked_for_by_cursor(serve: Serve, management: Connect) -> None:
    server = serve(lambda _: json_reply({"_embedded": {"requests": [{"id": "a"}, "odd"]}}))
    page = management(server.url).webhook_requests(
        HUB, HOOK, cursor="c1", limit=5, exclude_status="SUCCESS"
    )
    assert page.requests == ({"id": "a"},)
    (request,) = server.received
    assert request.path == f"{PATH}/{HOOK}/requests"
    assert request.query == {"cursor": ["c1"], "limit": ["5"], "excludeStatus": ["SUCCESS"]}


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        (["a", "b"], ["a", "b"]),
        ({"eventTypes": ["a"]}, ["a"]),
        ({"_embedded": {"event-types": [{"name": "a"}, {"id": "b"}, {}, 3]}}, ["a", "b"]),
        ({"_embedded": {}}, []),
        ({"_embedded": "odd"}, []),
        (None, []),
    ],
)
def test_event_types_are_found_in_each_form(
    serve: Serve, management: Connect, answer: Any, names: list[str]
) -> None:
    server = serve(lambda _: json_reply(answer))
    assert management(server.url).webhook_event_types(HUB) == names
    assert server.received[0].path == f"{PATH}/event-types"


def test_links_to_another_host_are_never_followed(serve: Serve, management: Connect) -> None:
    other = serve(lambda _: json_reply(WEBHOOK))
    links = {
        "_links": {name: {"href": f"{other.url}/{name}"} for name in ("self", "next", "first")}
    }

    def answer(request: Received) -> Reply:
        if request.method == "DELETE":
            return Reply(204)
        entries = {"webhooks": [WEBHOOK | links], "content-items": [{"id": "a", "version": 1}]}
        return json_reply(WEBHOOK | links | {"_embedded": entries, "page": {"totalPages": 1}})

    client = management(serve(answer).url)
    client.webhooks(HUB)
    client.webhook_requests(HUB, HOOK)
    client.update_webhook(HUB, HOOK, {"label": "x"})
    client.delete_webhook(HUB, HOOK)
    list(client.content_items("65f1a0c2d3e4f50001a2b409"))
    client.snapshot(HOOK)
    assert other.received == []
