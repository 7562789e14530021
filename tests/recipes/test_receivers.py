"""The receivers in docs/recipes/receiver.md verify what the service signs, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server

from app.config import Destination
from app.destinations.sending import DestinationClient
from app.errors import DestinationRefused
from tests.recipes.test_recipes import OWN, block, deleted, published, redirected, settings_of

OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
NODE = shutil.which("node")


@contextmanager
def flask_receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, dict[str, Any]]]:
    monkeypatch.setenv("RECEIVER_SECRET", OWN["RECEIVER_SECRET"])
    names: dict[str, Any] = {"__name__": "receiver"}
    exec(compile(block("receiver", "python"), "receiver.md", "exec"), names)  # noqa: S102
    server = make_server("127.0.0.1", 0, names["app"])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", names
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def node_receiver(folder: Path) -> Iterator[str]:
    assert NODE
    script = folder / "receiver.mjs"
    script.write_text(block("receiver", "javascript"), encoding="utf-8")
    environ = {"RECEIVER_SECRET": OWN["RECEIVER_SECRET"], "PORT": "0"}
    with subprocess.Popen([NODE, script], env=environ, stdout=subprocess.PIPE, text=True) as node:
        try:
            assert node.stdout
            yield f"http://127.0.0.1:{node.stdout.readline().split()[-1]}"
        finally:
            node.kill()


def _destination(url: str) -> Destination:
    (destination,) = settings_of("receiver", OWN).destinations
    return redirected(destination, url)


def _exchange(url: str) -> None:
    """All that a receiver must take, and all that it must not."""
    right = _destination(url)
    now = datetime.now(UTC)
    with closing(DestinationClient()) as client:
        for message in (published(), published(), deleted()):
            assert client.send(right, message, now=now).status == 204
        rotating = replace(right, signing_secrets=(OTHER, *right.signing_secrets))
        assert client.send(rotating, published("msg-3"), now=now).status == 204
        wrong = replace(right, signing_secrets=(OTHER,))
        unsigned = replace(right, signing_secrets=())
        for destination, when in ((wrong, now), (unsigned, now), (right, now - timedelta(hours=1))):
            with pytest.raises(DestinationRefused, match="401"):
                client.send(destination, published("msg-4"), now=when)


def test_flask_receiver_takes_what_is_signed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with flask_receiver(monkeypatch) as (url, names):
        _exchange(url)
    assert names["done"] == {"msg-1", "msg-2", "msg-3"}
    assert list(names["items"]) == [published_id()]


@pytest.mark.skipif(NODE is None, reason="node is not on the PATH")
def test_node_receiver_takes_what_is_signed_alone(tmp_path: Path) -> None:
    with node_receiver(tmp_path) as url:
        _exchange(url)


def published_id() -> str:
    return "7b1c2a04-0000-4000-8000-000000000001"
