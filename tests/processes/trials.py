"""One database with jobs, workers on it as processes, and a downstream that can be slow."""

from __future__ import annotations

import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.config import load_settings
from app.db import Storage
from app.queue import accept
from app.rules import match
from app.schemas import load_event
from sandbox import SandboxServer
from tests.processes.running import (
    QUICK_WORKER,
    WORKER,
    Running,
    eventually,
    is_stopped,
    job_rows,
    snapshot_body,
    started,
    states,
)
from tests.relay import environment
from tests.servers import Accepting, Received, Reply, ScriptedServer

NOT_BY_ENVIRONMENT = dict.fromkeys(
    ("FORWARD_URL", "FORWARD_ALLOW_PRIVATE", "LOCALIZE_LOCALES", "LOCALIZE_SOURCE_LOCALE"), ""
)


class Downstream:
    """Takes messages. With `slow`, the first about each item is answered when `answer` is set."""

    def __init__(self, *, slow: bool = False, accepting: Accepting | None = None) -> None:
        self.answer = threading.Event()
        if not slow:
            self.answer.set()
        self._known: set[str] = set()
        self._lock = threading.Lock()
        self._server = ScriptedServer(self._answering, accepting=accepting)
        self.url = self._server.url

    def _answering(self, request: Received) -> Reply:
        item = item_of(request)
        with self._lock:
            first = item not in self._known
            self._known.add(item)
        if first:
            self.answer.wait(30)
        return Reply()

    @property
    def received(self) -> list[Received]:
        return list(self._server.received)

    @property
    def identifiers(self) -> dict[str, list[str]]:
        """The `webhook-id` of each message, by the item that it is about."""
        found: dict[str, list[str]] = {}
        for request in self.received:
            found.setdefault(item_of(request), []).append(request.headers["webhook-id"])
        return found

    def close(self) -> None:
        self.answer.set()
        self._server.close()


def item_of(request: Received) -> str:
    return str(request.json["data"]["item"]["id"])


class Trial:
    """A database, its downstream, and the settings that join them.

    `file` is a relay.toml in place of the one destination at `/items` of the downstream.
    """

    def __init__(
        self, sandbox: SandboxServer, url: str, directory: Path, downstream: Downstream, file: str
    ) -> None:
        self.downstream = downstream
        self.environ = environment(sandbox, url, FORWARD_URL=f"{downstream.url}/items")
        if file:
            (directory / "relay.toml").write_text(file)
            self.environ |= {"RELAY_CONFIG": str(directory / "relay.toml"), **NOT_BY_ENVIRONMENT}
        self.settings = load_settings(self.environ, directory=directory)
        self.storage = Storage(url)
        self.directory = directory

    def accept(self, *items: str, to: str | None = None) -> list[str]:
        """Accept a publication of each item, for one destination or all; the events' ids."""
        identifiers = [str(uuid.uuid4()) for _ in items]
        for item, identifier in zip(items, identifiers, strict=True):
            event = load_event(snapshot_body(item, identifier), hub="main")
            plans = match(event, self.settings.rules, self.settings.destinations)
            accept(self.storage, [(event, [one for one in plans if to in (None, one.target)])])
        return identifiers

    @contextmanager
    def worker(self, *, lease_ms: int | None = None, **environ: str) -> Iterator[Running]:
        """Run a worker, with the real lease or a shorter one."""
        more = environ if lease_ms is None else {"LEASE_MS": str(lease_ms), **environ}
        arguments = WORKER if lease_ms is None else QUICK_WORKER
        with started(arguments, {**self.environ, **more}, self.directory) as running:
            yield running

    def stop(self, worker: Running) -> None:
        """Stop a worker with SIGSTOP, but not while it has the write lock of a SQLite file."""
        with self.storage.write():
            worker.signal(signal.SIGSTOP)
            eventually(lambda: is_stopped(worker.pid))

    def await_received(self, count: int) -> None:
        """Wait until the downstream has so many messages."""
        eventually(lambda: len(self.downstream.received) >= count, 15)

    def await_all(self, state: str, timeout: float) -> None:
        """Wait until every job is in one state."""
        try:
            eventually(lambda: set(states(self.storage)) == {state}, timeout)
        except AssertionError:
            raise AssertionError(f"waited for {state}: {job_rows(self.storage)}") from None


@contextmanager
def trial(
    sandbox: SandboxServer,
    url: str,
    parent: Path,
    *,
    slow: bool = False,
    downstream: Downstream | None = None,
    file: str = "",
) -> Iterator[Trial]:
    """Make a trial on a database that has our tables."""
    directory = parent / url.partition(":")[0]
    directory.mkdir()
    downstream = downstream or Downstream(slow=slow)
    made = Trial(sandbox, url, directory, downstream, file)
    try:
        yield made
    finally:
        made.storage.close()
        downstream.close()
