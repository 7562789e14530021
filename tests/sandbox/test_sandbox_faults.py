import time

import pytest
import requests

from .client import Client, Json


def add(client: Client, **fault: object) -> str:
    answer = client.post("/sandbox/faults", fault)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def test_a_status_is_answered_so_many_times(client: Client) -> None:
    add(
        client,
        where="management",
        kind="status",
        status=503,
        headers={"Retry-After": "2"},
        body={"message": "later"},
        times=2,
    )
    path = "/v2/content/hubs"
    answers = [client.call("GET", path) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert answers[0].headers["Retry-After"] == "2"
    assert answers[0].json() == {"message": "later"}


@pytest.mark.parametrize(
    ("where", "method", "path"),
    [
        ("auth", "POST", "/oauth/token"),
        ("management", "GET", "/v2/content/hubs"),
        ("cdn", "GET", "/cdn/content/id/x"),
        ("fresh", "POST", "/fresh/content/fetch"),
        ("staging", "GET", "/staging/content/key/x"),
        ("downstream", "PUT", "/downstream/a/b"),
    ],
)
def test_every_place_can_fail(client: Client, where: str, method: str, path: str) -> None:
    add(client, where=where, kind="status", status=502, body="bad gateway")
    answer = client.call(method, path)
    assert (answer.status_code, answer.text) == (502, "bad gateway")


def test_a_fault_is_for_the_calls_it_matches(client: Client) -> None:
    item = client.create(locale="en-GB")
    add(client, where="management", kind="status", method="POST", path="*/localize")
    assert (
        client.act(item["id"], "localize", {"version": 1, "locales": ["fr-FR"]}).status_code == 500
    )
    assert client.act(item["id"], "publish").status_code == 202
    add(client, where="management", kind="status", path="publish", status=500)
    assert client.act(item["id"], "publish").status_code == 500
    assert client.get("/v2/content/hubs")


def test_faults_are_listed_and_removed(client: Client) -> None:
    first = add(client, where="cdn", kind="status")
    add(client, where="fresh", kind="status")
    client.call("GET", "/cdn/content/id/x")
    listed = client.get("/sandbox/faults")["faults"]
    assert [(fault["where"], fault["hits"]) for fault in listed] == [("cdn", 1), ("fresh", 0)]
    assert client.call("DELETE", f"/sandbox/faults/{first}").status_code == 204
    assert client.call("DELETE", f"/sandbox/faults/{first}").status_code == 404
    assert client.call("DELETE", "/sandbox/faults").status_code == 204
    assert client.get("/sandbox/faults") == {"faults": []}


def test_a_delay_holds_the_answer_back(client: Client) -> None:
    add(client, where="management", kind="delay", seconds=0.1)
    before = time.monotonic()
    assert client.get("/v2/content/hubs")
    assert time.monotonic() - before >= 0.1


@pytest.mark.parametrize("kind", ["reset", "hang"])
def test_reset_and_hang_give_no_answer(client: Client, kind: str) -> None:
    add(client, where="management", kind=kind, seconds=0.01, times=1)
    with pytest.raises(requests.ConnectionError):
        client.call("GET", "/v2/content/hubs")
    assert client.get("/v2/content/hubs")


def test_accept_then_fail_carries_out_what_it_denies(client: Client) -> None:
    item = client.create(locale="en-GB")
    add(client, where="management", path="/localize", kind="accept_then_fail", times=1)
    add(client, where="management", path="/publish", kind="accept_then_fail", answer="reset")
    body = {"version": 1, "locales": ["fr-FR"]}
    assert client.act(item["id"], "localize", body).status_code == 500
    with pytest.raises(requests.ConnectionError):
        client.act(item["id"], "publish")
    assert client.sandbox.settle()
    assert [one["locale"] for one in client.localizations(item["id"])] == ["fr-FR"]
    assert client.item(item["id"])["publishingStatus"] == "LATEST"


def test_a_fault_can_be_a_matter_of_chance(client: Client) -> None:
    add(client, where="management", kind="status", probability=0.5)
    statuses = {client.call("GET", "/v2/content/hubs").status_code for _ in range(60)}
    assert statuses == {200, 500}


@pytest.mark.parametrize(
    ("fault", "field", "hint"),
    [
        ({"kind": "reset"}, "where", "auth, management"),
        ({"where": "cdn"}, "kind", "accept_then_fail"),
        ({"where": "moon", "kind": "reset"}, "where", "auth, management"),
        ({"where": "cdn", "kind": "explode"}, "kind", "hang"),
        ({"where": "cdn", "kind": "status", "status": "500"}, "status", "200 to 599"),
        ({"where": "cdn", "kind": "delay", "seconds": -1}, "seconds", "from 0 up"),
        ({"where": "cdn", "kind": "reset", "times": 0}, "times", "null"),
        ({"where": "cdn", "kind": "reset", "probability": 2}, "probability", "up to 1"),
        ({"where": "cdn", "kind": "status", "headers": {"a": 1}}, "headers", "Retry-After"),
        ({"where": "cdn", "kind": "reset", "colour": 1}, "colour", "probability"),
    ],
)
def test_a_wrong_fault_says_what_to_write(
    client: Client, fault: Json, field: str, hint: str
) -> None:
    answer = client.post("/sandbox/faults", fault)
    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == field
    assert hint in answer.json()["error"]["message"]
