import re
from collections.abc import Callable

import pytest

from .client import SECRET, Client, Json, signature

CREATED = "dynamic-content.content-item.created"
UPDATED = "dynamic-content.content-item.updated"
PUBLISHED = "dynamic-content.snapshot.published"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def test_each_change_sends_its_event(client: Client) -> None:
    client.hook()
    item = client.create({"headline": "One"}, locale="en-GB")
    client.sandbox.settle()
    client.update(item, {"headline": "Two"})
    client.sandbox.settle()
    client.act(item["id"], "archive", {"version": 2})
    client.sandbox.settle()
    client.act(item["id"], "unarchive", {"version": 2})
    client.sandbox.settle()
    client.publish(item["id"])
    events = client.events()
    assert [event["name"] for event in events] == [CREATED, UPDATED, UPDATED, UPDATED, PUBLISHED]
    assert events[0]["payload"] == item
    assert events[1]["payload"]["version"] == 2
    assert events[2]["payload"]["status"] == "ARCHIVED"


def test_the_envelope_is_that_of_amplience(client: Client) -> None:
    client.hook()
    item = client.create({"_meta": {"deliveryKey": "home"}}, locale="en-GB")
    client.publish(item["id"])
    created, published = sorted(client.events(), key=lambda event: str(event["name"]))
    for envelope in (created, published):
        assert list(envelope) == ["sequenceId", "id", "name", "requestId", "resource", "payload"]
        assert UUID.fullmatch(envelope["id"])
        assert UUID.fullmatch(envelope["requestId"])
        assert re.fullmatch(r"[0-9a-f]{24}", envelope["resource"])
    assert {"id", "body", "version", "label", "status", "locale", "_links"} <= set(
        created["payload"]
    )
    assert published["payload"]["rootContentItem"] == {
        "label": "Banner",
        "contentTypeUri": "https://schema.example.com/banner.json",
        "id": item["id"],
    }
    assert set(published["payload"]["_links"]) == {"self", "snapshot"}
    assert published["payload"]["createdFrom"] == "content-item"


def test_the_body_is_signed_as_it_was_sent(client: Client) -> None:
    client.hook()
    client.create({"headline": "café"})
    (received,) = client.sandbox.received("hook", at_least=1)
    assert received.headers["Content-Type"] == "application/json"
    assert "café".encode() in received.body
    assert received.headers["X-Amplience-Webhook-Signature"] == signature(SECRET, received.body)


@pytest.mark.parametrize(
    ("more", "sent"),
    [
        ({"events": [UPDATED]}, False),
        ({"active": False}, False),
        ({"filters": [{"type": "equal", "of": ["$.payload.locale", "en-GB"]}]}, True),
        ({"filters": [{"type": "equal", "of": ["$.payload.locale", "fr-FR"]}]}, False),
        ({"filters": [{"type": "in", "of": ["$.payload.body.region", ["EU", "US"]]}]}, True),
        ({"filters": [{"type": "in", "of": ["$.payload.body.tags[1]", ["b"]]}]}, True),
        ({"filters": [{"type": "equal", "of": ["$.payload.nothing.here", "x"]}]}, False),
    ],
)
def test_only_events_that_are_wanted_are_sent(client: Client, more: Json, sent: bool) -> None:
    for rule in more.get("filters", []):
        path, value = rule.pop("of")
        rule["arguments"] = [{"jsonPath": path}, {"value": value}]
    client.hook(**more)
    client.create({"region": "EU", "tags": ["a", "b"]}, locale="en-GB")
    assert bool(client.events()) == sent


def test_a_failed_request_is_sent_again_with_the_same_id(client: Client) -> None:
    hook = client.hook()
    client.sandbox.faults.add(where="downstream", kind="status", status=503, times=1)
    client.sandbox.faults.add(where="downstream", kind="reset", times=1)
    client.create()
    client.sandbox.settle()
    (event,) = client.events()
    (logged,) = client.get("/sandbox/webhook-requests")["requests"]
    assert [attempt["status"] for attempt in logged["attempts"]] == [503, None, 200]
    assert (logged["status"], logged["eventId"]) == ("SUCCESS", event["id"])
    calls = client.get("/sandbox/calls", where="downstream")["calls"]
    assert {call["json"]["id"] for call in calls} == {event["id"]}
    page = client.get(f"{client.hub}/webhooks/{hook['id']}/requests")
    assert page["_embedded"]["requests"] == [logged]


def test_a_refusal_is_final_and_retries_end(client: Client) -> None:
    client.hook()
    client.sandbox.faults.add(where="downstream", kind="status", status=401, times=1)
    client.create()
    client.sandbox.settle()
    client.sandbox.faults.add(where="downstream", kind="status", status=500)
    client.create()
    client.sandbox.settle()
    logged = client.get("/sandbox/webhook-requests")["requests"]
    assert [(one["status"], len(one["attempts"])) for one in logged] == [
        ("FAILED", 1),
        ("FAILED", 3),
    ]


def test_an_event_is_sent_by_hand(client: Client) -> None:
    item = client.create(locale="en-GB")
    client.hook()
    path = "/sandbox/webhooks/send"
    assert client.post(path, {"name": CREATED, "item_id": item["id"], "times": 3}).json() == {
        "requests": 3
    }
    events = client.events()
    assert len(events) == 3
    assert {event["id"] for event in events} == {events[0]["id"]}
    assert events[0]["payload"] == item
    client.post(path, {"name": PUBLISHED, "item_id": item["id"], "id": "chosen"})
    edition = {"name": "dynamic-content.edition.published", "payload": {"id": "e" * 24}}
    client.post(path, edition)
    by_name = {event["name"]: event for event in client.events()}
    assert by_name[PUBLISHED]["id"] == "chosen"
    assert by_name[PUBLISHED]["payload"]["rootContentItem"]["id"] == item["id"]
    assert by_name[edition["name"]]["payload"] == {"id": "e" * 24}


def test_sending_a_snapshot_by_hand_repeats_the_last_one(client: Client) -> None:
    item = client.create()
    client.hook()
    client.publish(item["id"])
    client.post("/sandbox/webhooks/send", {"name": PUBLISHED, "item_id": item["id"]})
    first, second = client.events()
    assert first["payload"] == second["payload"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "other"}, "name"),
        ({"name": CREATED}, "item_id"),
        ({"name": "dynamic-content.edition.published", "item_id": "x"}, "payload"),
        ({"name": CREATED, "payload": {"id": "x"}, "times": 0}, "times"),
    ],
)
def test_a_wrong_send_says_which_field(client: Client, body: Json, field: str) -> None:
    answer = client.post("/sandbox/webhooks/send", body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, field)


def test_webhooks_are_made_read_changed_and_removed(client: Client) -> None:
    path = f"{client.hub}/webhooks"
    given = {
        "label": "relay",
        "events": [CREATED],
        "handlers": ["http://127.0.0.1:9/none"],
        "headers": [
            {"key": "X-Secret", "value": "s", "secret": True},
            {"key": "X-Open", "value": "o"},
        ],
        "notifications": [{"email": "a@example.com"}],
        "method": "PUT",
        "active": False,
    }
    answer = client.post(path, given)
    made = answer.json()
    assert answer.status_code == 201
    assert made["headers"] == [
        {"key": "X-Secret", "value": None, "secret": True},
        {"key": "X-Open", "value": "o"},
    ]
    assert made["notifications"] == [{"email": None}]
    assert len(made["secret"]) > 20
    one = f"{path}/{made['id']}"
    assert client.get(one) == made
    assert client.get(path)["_embedded"]["webhooks"] == [made]
    changed = client.call("PATCH", one, {"label": "new"}).json()
    assert (changed["label"], changed["method"]) == ("new", "PUT")
    assert client.call("DELETE", one).status_code == 204
    assert client.call("GET", one).status_code == 404
    assert CREATED in client.get(path + "/event-types")["eventTypes"]


def test_method_and_headers_of_a_webhook_are_used(client: Client) -> None:
    headers = [{"key": "X-Secret", "value": "s", "secret": True}]
    client.hook(method="PUT", headers=headers)
    client.create()
    (received,) = client.sandbox.received("hook", at_least=1)
    assert (received.method, received.headers["X-Secret"]) == ("PUT", "s")


@pytest.mark.parametrize(
    "body",
    [
        {"events": ["dynamic-content.other"]},
        {"method": "GET"},
        {"notifications": [{}, {}]},
        {"filters": [{"type": "unlike", "arguments": []}]},
    ],
)
def test_a_wrong_webhook_is_refused(client: Client, body: Json) -> None:
    assert client.post(f"{client.hub}/webhooks", body).status_code == 400


def test_the_log_of_a_webhook_has_a_cursor(start: Callable[..., Client]) -> None:
    client = start()
    hook = client.hook()
    made = [client.create()["id"] for _ in range(3)]
    client.sandbox.settle()
    path = f"{client.hub}/webhooks/{hook['id']}/requests"
    first = client.get(path, limit=2)
    second = client.get(path, limit=2, cursor=first["page"]["cursor"])
    assert [len(page["_embedded"]["requests"]) for page in (first, second)] == [2, 1]
    assert second["page"] == {}
    assert made[0] in second["_embedded"]["requests"][0]["request"]["body"]
    assert client.get(path, excludeStatus="SUCCESS")["_embedded"]["requests"] == []
    assert client.call("GET", path + "?cursor=x").status_code == 400
