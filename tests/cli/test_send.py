"""`dc-relay send` to a real door on SQLite."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.config import load_settings
from app.events import KNOWN_EVENT_NAMES, SNAPSHOT_PUBLISHED
from app.schemas import load_event
from app.signature import HEADER, verify
from tests.cli.conftest import bare_environment, invoke
from tests.relay import SECRET, Relay, running
from tests.servers import ScriptedServer, json_reply

NAMES = sorted(KNOWN_EVENT_NAMES)
ITEMS = [name for name in NAMES if "edition" not in name]
SHORT = "snapshot.published"


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """The service's door, with one hub and no rules."""
    file = tmp_path_factory.mktemp("door") / "relay.db"
    environ = {"DATABASE_URL": f"sqlite:///{file}", "WEBHOOK_SECRET": SECRET}
    # The door runs in this process: its log must not get into the command's output.
    with capture_logs(), running(environ, worker=False) as service:
        yield service


@pytest.fixture
def env(door: Relay) -> dict[str, str]:
    """The settings of the service that the door belongs to."""
    return {"WEBHOOK_SECRET": f"{SECRET},another-secret", "PORT": door.url.rpartition(":")[2]}


def printed(*arguments: str, env: dict[str, str] | None = None) -> tuple[dict[str, str], bytes]:
    """Headers and body that `send --print` shows."""
    result = invoke("send", *arguments, "--print", env=env or {"WEBHOOK_SECRET": SECRET})
    assert result.exit_code == 0, result.output
    head, _, body = result.stdout_bytes.partition(b"\n\n")
    first, *lines = head.decode().splitlines()
    headers = dict(line.split(": ", 1) for line in lines)
    return {"POST": first.removeprefix("POST "), **headers}, body.removesuffix(b"\n")


@pytest.mark.parametrize("name", [*NAMES, *(name.partition(".")[2] for name in NAMES)])
def test_every_event_is_accepted_by_the_door(name: str, env: dict[str, str]) -> None:
    result = invoke("send", name, env=env)
    assert result.exit_code == 0, result.output
    assert result.output.startswith("202 ACCEPTED  ")
    assert " ms  {" in result.output
    answer = json.loads(result.output[result.output.index("{") :])
    assert answer["status"] == "ignored"  # by rules, of which there are none


def test_each_send_is_a_new_event(env: dict[str, str], door: Relay) -> None:
    before = door.counts().events
    result = invoke("send", SHORT, "--count", "3", env=env)
    assert result.exit_code == 0
    assert door.counts().events == before + 3
    lines = result.output.splitlines()
    assert len(lines) == 4
    assert lines[-1].startswith("3 sent: 3 answered 202; median ")


def test_same_id_again_is_a_duplicate(env: dict[str, str]) -> None:
    result = invoke("send", SHORT, "--id", "again", "--count", "2", env=env)
    assert [line[:3] for line in result.output.splitlines()[:2]] == ["202", "200"]
    assert "1 answered 200, 1 answered 202" in result.output
    assert result.exit_code == 0


def test_same_id_with_another_payload_is_a_conflict(env: dict[str, str]) -> None:
    assert invoke("send", SHORT, "--id", "clash", env=env).exit_code == 0
    result = invoke("send", SHORT, "--id", "clash", "--label", "Other", env=env)
    assert (result.exit_code, result.output[:3]) == (1, "409")


def test_bad_signature_is_refused_and_exits_with_one(env: dict[str, str]) -> None:
    result = invoke("send", SHORT, "--bad-signature", env=env)
    assert (result.exit_code, result.output[:3]) == (1, "401")
    assert "signature-mismatch" in result.output


def test_url_and_secret_need_no_settings(door: Relay) -> None:
    result = invoke("send", SHORT, "--url", f"{door.url}/webhooks/main", "--secret", SECRET)
    assert (result.exit_code, result.output[:3]) == (0, "202")


def test_wrong_secret_is_refused(env: dict[str, str]) -> None:
    assert invoke("send", SHORT, "--secret", "wrong", env=env).exit_code == 1


@pytest.mark.processes
def test_real_process_sends(env: dict[str, str], tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-m", "app", "send", SHORT],
        env={**bare_environment(), **env},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("202 ")


def test_file_is_sent_byte_for_byte(tmp_path: Path) -> None:
    server = ScriptedServer(lambda _request: json_reply({}))
    body = b'\xef\xbb\xbf{ "not": "ours",\r\n "nor": "UTF-8 \xff" }\n'
    file = tmp_path / "event.json"
    file.write_bytes(body)
    try:
        result = invoke("send", str(file), "--url", server.url, "--secret", SECRET)
    finally:
        server.close()
    assert result.exit_code == 0
    [request] = server.received
    assert request.body == body
    assert request.headers["content-type"] == "application/json"
    verify(body, request.headers[HEADER.lower()], [SECRET])


def test_redirect_is_not_followed_and_is_no_success() -> None:
    server = ScriptedServer(lambda _request: json_reply({}, 302, Location="/elsewhere"))
    try:
        result = invoke("send", SHORT, "--url", server.url, "--secret", SECRET)
    finally:
        server.close()
    assert (result.exit_code, len(server.received)) == (1, 1)


def test_nobody_there_is_one_clear_line() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    env = {"WEBHOOK_SECRET": SECRET, "PORT": str(port)}
    result = invoke("send", SHORT, "--count", "5", env=env)
    assert result.exit_code == 1
    assert result.output == f"Error: no answer from http://127.0.0.1:{port}/…: connection refused\n"


@pytest.mark.parametrize("name", ITEMS)
def test_choices_reach_the_event(name: str) -> None:
    _, body = printed(
        name, "--item", "item-1", "--label", "Über", "--locale", "nl-NL", "--schema", "https://s/b"
    )
    event = load_event(body, hub="main")
    assert event.name == name
    assert (event.item_id, event.label, event.locale, event.schema) == (
        "item-1",
        "Über",
        "nl-NL",
        "https://s/b",
    )


def test_item_is_changed_in_its_links_too() -> None:
    message: dict[str, Any] = json.loads(printed("content-item.created", "--item", "item-1")[1])
    links = message["payload"]["_links"].values()
    assert all("/content-items/item-1" in link["href"] for link in links)
    assert message["payload"]["deliveryId"] == "item-1"


def test_printing_sends_nothing_and_shows_what_would_be_sent(door: Relay) -> None:
    before = door.counts().events
    env = {"WEBHOOK_SECRET": SECRET, "PORT": door.url.rpartition(":")[2]}
    head, body = printed(SHORT, "--id", "shown", env=env)
    assert head["POST"] == f"{door.url}/webhooks"
    verify(body, head[HEADER], [SECRET])
    event = load_event(body, hub="main")
    assert (event.id, event.name) == ("shown", SNAPSHOT_PUBLISHED)
    assert door.counts().events == before


TWO_HUBS = """
[hubs.one]
webhook_secrets = ["the-secret-of-one"]
[hubs.two]
webhook_secrets = ["the-secret-of-two"]
"""


def test_hub_chooses_path_and_secret(tmp_path: Path) -> None:
    (tmp_path / "relay.toml").write_text(TWO_HUBS)
    head, body = printed(SHORT, "--hub", "two", env={"PORT": "8123"})
    assert head["POST"] == "http://127.0.0.1:8123/webhooks/two"
    verify(body, head[HEADER], ["the-secret-of-two"])
    assert len(load_settings({}, directory=tmp_path).hubs) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("snapshot.publish",), "Did you mean snapshot.published?"),
        (("dynamic-content.content-item.creatd",), "Did you mean content-item.created?"),
        (("nothing-like-it",), "Amplience sends: content-item.assigned, content-item.created,"),
        (("edition.published", "--item", "1", "--label", "2"), "--item, --label has no place"),
        ((SHORT, "--hub", "three"), "There is no hub 'three'"),
        ((SHORT, "--url", "127.0.0.1/webhooks"), "Write a whole one"),
        ((SHORT, "--url", "ftp://127.0.0.1/webhooks"), "Write a whole one"),
        (("event.json", "--id", "1"), "A file is sent as it is"),
        ((SHORT, "--count", "0"), "--count"),
    ],
)
def test_what_cannot_be_sent_is_a_usage_error(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    (tmp_path / "event.json").write_text("{}")
    result = invoke("send", *arguments, env={"WEBHOOK_SECRET": SECRET})
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())


def test_several_hubs_ask_for_a_choice(tmp_path: Path) -> None:
    (tmp_path / "relay.toml").write_text(TWO_HUBS)
    result = invoke("send", SHORT)
    assert result.exit_code == 2
    assert "choose one with --hub: one, two" in result.output


def test_settings_that_cannot_be_used_ask_for_a_secret_only() -> None:
    result = invoke("send", SHORT, env={"PORT": "8123"})
    assert result.exit_code == 2
    assert "give --secret" in result.output
    head, _ = printed(SHORT, "--secret", "x", "--hub", "main", env={"PORT": "8123"})
    assert head["POST"] == "http://127.0.0.1:8123/webhooks/main"
