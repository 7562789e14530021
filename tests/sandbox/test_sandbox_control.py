import threading
import time

import pytest
import requests

from sandbox import SandboxOptions, SandboxServer

from .client import Client


def test_the_front_page_says_what_is_here(client: Client) -> None:
    answer = client.call("GET", "/")
    assert "/sandbox/faults" in answer.text
    assert f"AMPLIENCE_API_URL={client.sandbox.url}/v2/content" in answer.text


def test_the_state_can_be_read(client: Client) -> None:
    item = client.create(locale="en-GB")
    client.act(item["id"], "localize", {"version": 1, "locales": ["fr-FR"]})
    client.publish(item["id"])
    state = client.get("/sandbox/state")
    source, variant = state["items"]
    assert source["id"] == item["id"]
    assert source["variants"] == {"fr-FR": variant["id"]}
    assert (source["locale"], source["version"]) == ("en-GB", 1)
    assert source["publishingStatus"] == "LATEST"
    assert state["counts"]["items"] == 2
    assert state["counts"]["snapshots"] == 1
    assert state["busy"] is False


def test_calls_are_logged_and_forgotten(client: Client) -> None:
    client.create(label="logged")
    client.call("GET", "/cdn/content/id/nothing?depth=all")
    log = client.get("/sandbox/calls")
    assert log["count"] == 2
    made, read = log["calls"]
    assert (made["where"], made["method"], made["status"]) == ("management", "POST", 201)
    assert made["json"]["label"] == "logged"
    assert (read["where"], read["query"], read["status"]) == ("cdn", "depth=all", 404)
    assert client.get("/sandbox/calls", where="cdn")["count"] == 1
    assert client.get("/sandbox/calls", where="management")["count"] == 1
    assert client.get("/sandbox/calls?path=content-items")["count"] == 1
    assert client.call("DELETE", "/sandbox/calls").status_code == 204
    assert client.get("/sandbox/calls")["count"] == 0


@pytest.mark.parametrize("advance", [-1, "a day", None])
def test_the_clock_moves_forward_only(client: Client, advance: object) -> None:
    answer = client.post("/sandbox/clock", {"advance": advance})
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, "advance")


def test_reset_forgets_everything(client: Client) -> None:
    client.hook()
    item = client.create()
    client.publish(item["id"])
    client.get(f"/cdn/content/id/{item['id']}")
    client.post("/sandbox/faults", {"where": "auth", "kind": "reset"})
    client.advance(1000)
    client.sandbox.settle()
    assert client.post("/sandbox/reset").status_code == 204
    state = client.get("/sandbox/state")
    assert (state["items"], state["webhooks"], state["faults"]) == ([], [], [])
    assert client.call("GET", f"/cdn/content/id/{item['id']}").status_code == 404
    assert abs(client.sandbox.state.now() - time.time()) < 5


def test_the_downstream_takes_anything(client: Client) -> None:
    url = f"{client.sandbox.url}/downstream/search"
    put = requests.put(f"{url}/items/1?x=y", data=b"\xe9raw", headers={"X-A": "b"}, timeout=5)
    assert (put.status_code, put.json()) == (200, {})
    requests.delete(url, timeout=5)
    got = client.get("/sandbox/downstream/search")
    assert got["count"] == 2
    first, second = got["requests"]
    assert (first["method"], first["path"]) == ("PUT", "/items/1?x=y")
    assert first["headers"]["X-A"] == "b"
    assert first["body"].endswith("raw")
    assert (second["method"], second["path"]) == ("DELETE", "/")
    assert client.sandbox.received("search")[0].body == b"\xe9raw"
    assert client.call("DELETE", "/sandbox/downstream/search").status_code == 204
    assert client.get("/sandbox/downstream/search")["count"] == 0


def test_reading_a_downstream_can_wait(client: Client) -> None:
    url = f"{client.sandbox.url}/downstream/slow"
    late = threading.Timer(0.05, lambda: requests.post(url, json={}, timeout=5).close())
    late.start()
    got = client.get("/sandbox/downstream/slow", wait=1, timeout=3)
    late.join()
    assert got["count"] == 1
    assert client.get("/sandbox/downstream/slow", wait=2, timeout=0.01)["count"] == 1


def test_one_connection_serves_many_requests(client: Client) -> None:
    first = client.session.get(client.sandbox.url, stream=True)
    assert first.headers.get("Connection") != "close"
    assert first.content
    connections = set(client.sandbox._connections)
    for _ in range(5):
        client.call("POST", "/downstream/chunked", headers={"X": "y"})
        client.session.post(
            f"{client.sandbox.url}/downstream/chunked", data=iter([b"a", b"b"]), timeout=5
        )
    assert set(client.sandbox._connections) == connections
    assert client.sandbox.received("chunked")[-1].body == b"ab"


def fail_to_get(url: str) -> None:
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=5)


def test_a_closed_sandbox_answers_no_more_and_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    sandbox = SandboxServer(SandboxOptions()).start()
    with requests.Session() as session:
        assert session.get(sandbox.url, timeout=5).ok
        sandbox.faults.add(where="cdn", kind="hang")
        hanging = threading.Thread(target=fail_to_get, args=(f"{sandbox.url}/cdn/x",))
        hanging.start()
        while not sandbox.state.calls:
            time.sleep(0.005)
        sandbox.close()
        sandbox.close()
        hanging.join()
        with pytest.raises(requests.ConnectionError):
            session.get(sandbox.url, timeout=5)
    left = {one.name for one in threading.enumerate() if one not in before}
    assert not [name for name in left if name.startswith("sandbox-")]


def test_a_sandbox_that_was_not_started_says_so() -> None:
    with pytest.raises(RuntimeError, match="not been started"):
        assert SandboxServer().url
