"""A deploy under load: nothing accepted is dropped, and nothing is refused for long."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import requests

from sandbox import SandboxServer
from tests.processes.conftest import MakeItems
from tests.processes.running import (
    WEB,
    await_ready,
    eventually,
    free_port,
    post,
    side_by_side,
    started,
    states,
)
from tests.processes.trials import trial

SENDERS = 3
PAUSE = 0.1
# How long the door may be shut while it is reloaded; a sender's repeat finds it open again.
RELOAD = 5.0


class Senders:
    """Post webhooks without end, each until it is taken, and remember the longest that one took."""

    def __init__(self, url: str, items: Sequence[str]) -> None:
        self.sent: list[str] = []
        self.refused: list[object] = []
        self.longest = 0.0
        self._url = url
        self._items = items
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=self._send_all, args=(number,)) for number in range(SENDERS)
        ]

    def __enter__(self) -> Senders:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _send_all(self, sender: int) -> None:
        for number, item in enumerate(self._items[sender::SENDERS]):
            if self._end.wait(PAUSE):
                return
            begun = time.monotonic()
            while (status := self._send(item, f"event-{sender}-{number}")) not in (200, 202):
                self.refused.append(status)
                time.sleep(PAUSE)
            self.sent.append(item)
            self.longest = max(self.longest, time.monotonic() - begun)

    def _send(self, item: str, event_id: str) -> object:
        try:
            return post(self._url, item, event_id).status_code
        except requests.RequestException as error:
            return type(error).__name__


def test_reload_of_the_web_and_change_of_workers_drop_nothing(
    sandbox: SandboxServer, make_items: MakeItems, database_urls: list[str], tmp_path: Path
) -> None:
    items = make_items(300)

    def deployed(url: str) -> None:
        with trial(sandbox, url, tmp_path) as at, ExitStack() as stack:
            port = str(free_port())
            environ = {**at.environ, "PORT": port, "WEB_CONCURRENCY": "2"}
            door = f"http://127.0.0.1:{port}"
            old = stack.enter_context(at.worker())
            web = stack.enter_context(started(WEB, environ, at.directory))
            await_ready(door)
            with Senders(door, items) as senders:
                eventually(lambda: len(senders.sent) > 10)
                web.signal(signal.SIGHUP)
                new = stack.enter_context(at.worker())
                eventually(lambda: "worker.started" in new.log)
                old.signal(signal.SIGTERM)
                assert old.ended() == 0
                eventually(lambda: web.log.count("Booting worker") == 4)
                eventually(lambda: web.log.count("Worker exiting") == 2)
                reloaded = len(senders.sent)
                eventually(lambda: len(senders.sent) > reloaded + 10)
            assert senders.longest < RELOAD, senders.refused
            eventually(lambda: set(states(at.storage)) == {"succeeded"})
            assert len(states(at.storage)) == len(senders.sent)
            assert set(at.downstream.identifiers) == set(senders.sent)
            assert {len(sent) for sent in at.downstream.identifiers.values()} == {1}

    side_by_side(deployed, database_urls)
