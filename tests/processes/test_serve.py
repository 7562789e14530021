"""`dc-relay serve`: two processes under one parent, and nothing left behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from app.db import Storage
from sandbox import SandboxServer
from tests.processes.conftest import MakeItems
from tests.processes.running import (
    ROOT,
    SERVE,
    Running,
    alive,
    await_ready,
    descendants,
    eventually,
    free_port,
    messages_by_item,
    post,
    started,
    states,
)
from tests.relay import environment

ASSETS = ROOT / "app/web/dashboard/static"


@contextmanager
def serving(
    sandbox: SandboxServer, empty_database_url: str, directory: Path, **more: str
) -> Iterator[tuple[Running, str]]:
    """Run `serve`; yields it and its address once it is ready."""
    port = str(free_port())
    environ = environment(sandbox, empty_database_url, PORT=port, **more)
    with started(SERVE, environ, directory) as running:
        url = f"http://127.0.0.1:{port}"
        await_ready(url)
        yield running, url


def pid_of(running: Running, child: str) -> int:
    return int(running.lines("child.started", child=child)[-1]["pid"])


def test_dashboard_gets_its_files_whole(
    sandbox: SandboxServer, empty_sqlite_url: str, tmp_path: Path
) -> None:
    """Files are sent in another way than answers, and only gunicorn does so."""
    token = "a-token-of-24-characters-or-more"
    with serving(sandbox, empty_sqlite_url, tmp_path, ADMIN_TOKEN=token) as (_, url):
        for name in ("dashboard.css", "dashboard.js"):
            answer = requests.get(f"{url}/assets/{name}", timeout=5)
            assert answer.content == (ASSETS / name).read_bytes()


def test_serve_starts_on_an_empty_database_and_leaves_nothing_behind(
    sandbox: SandboxServer, empty_database_url: str, make_items: MakeItems, tmp_path: Path
) -> None:
    [item] = make_items(1)
    with serving(sandbox, empty_database_url, tmp_path) as (running, url):
        assert requests.get(f"{url}/healthz", timeout=5).status_code == 200
        assert post(url, item, "event-1").status_code == 202
        assert sandbox.received("default", at_least=1)
        below = descendants(running.pid)
        assert len(below) == 3  # the worker, gunicorn, and its worker
        begun = time.monotonic()
        running.signal(signal.SIGTERM)
        assert running.ended(30) == 0
        assert time.monotonic() - begun < 10
        assert not [pid for pid in below if alive(pid)]
    storage = Storage(empty_database_url)
    assert states(storage) == ["succeeded"]
    storage.close()


def test_killed_child_is_started_again(
    sandbox: SandboxServer, empty_sqlite_url: str, make_items: MakeItems, tmp_path: Path
) -> None:
    items = make_items(2)
    with serving(sandbox, empty_sqlite_url, tmp_path) as (running, url):
        worker, web = pid_of(running, "worker"), pid_of(running, "web")
        before = descendants(running.pid)
        os.kill(worker, signal.SIGKILL)
        os.kill(web, signal.SIGKILL)
        eventually(lambda: pid_of(running, "worker") != worker)
        eventually(lambda: pid_of(running, "web") != web)
        eventually(lambda: not [pid for pid in before if alive(pid)])
        await_ready(url)
        for number, item in enumerate(items):
            assert post(url, item, f"event-{number}").status_code == 202
        assert len(sandbox.received("default", at_least=2)) == 2
        running.signal(signal.SIGTERM)
        assert running.ended(30) == 0
    assert {len(sent) for sent in messages_by_item(sandbox).values()} == {1}


def test_door_opens_again_soon_after_the_parent_was_killed(
    sandbox: SandboxServer, empty_sqlite_url: str, tmp_path: Path
) -> None:
    with serving(sandbox, empty_sqlite_url, tmp_path) as (running, url), requests.Session() as kept:
        # A sender keeps its connection, and an end that waits for it would keep the port.
        assert kept.get(f"{url}/healthz", timeout=5).status_code == 200
        running.signal(signal.SIGKILL)
        running.ended()
        port = url.rpartition(":")[2]
        with started(SERVE, environment(sandbox, empty_sqlite_url, PORT=port), tmp_path) as second:
            begun = time.monotonic()
            eventually(lambda: "Listening at" in second.log)
            await_ready(url)
            assert time.monotonic() - begun < 10
            assert not second.lines("child.ended")


def test_children_do_not_outlive_a_killed_parent(
    sandbox: SandboxServer, empty_sqlite_url: str, tmp_path: Path
) -> None:
    with serving(sandbox, empty_sqlite_url, tmp_path) as (running, url):
        below = descendants(running.pid)
        running.signal(signal.SIGKILL)
        running.ended()
        eventually(lambda: not [pid for pid in below if alive(pid)], 15)
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{url}/healthz", timeout=5)
        # They ended in order: the worker said goodbye.
        assert "worker.stopped" in running.log
