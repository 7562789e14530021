"""The door while its database is gone, frozen, slow, full or locked.

Whatever is wrong, a webhook is answered within 2 seconds, is never answered 2xx unless it is
committed, and is taken again as soon as the database is back. Each trouble is tried with the
service's own time limits, and all of them side by side, because most of their time is waiting.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Connection, event, select
from sqlalchemy.engine import make_url

from app.bootstrap import WebServices, build_web
from app.db import Storage, upgrade_schema
from app.db.tables import jobs, webhook_events
from app.events import SNAPSHOT_PUBLISHED
from app.web import create_app
from tests.builders import forward_rule, make_body, make_settings, signed

LIMIT = 2.0
TAKEN = {200, 202}


@dataclass(frozen=True)
class Answered:
    """One answer of the door, and how long it took."""

    status: int
    retry_after: str | None
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What the door answered before, during and after a trouble.

    `ready` is what /readyz said meanwhile. `back_within`: seconds from the end of the trouble until
    the first 2xx. `stored` counts the events in the end, and `jobs` theirs.
    """

    before: Answered
    during: list[Answered]
    ready: Answered
    back_within: float
    stored: int
    jobs: int


@dataclass(frozen=True)
class Trouble:
    """What goes wrong under a door, and how it is mended."""

    name: str
    services: WebServices
    begin: Callable[[], object]
    end: Callable[[], object]

    @cached_property
    def app(self) -> Flask:
        """One app for all requests, as in a real process."""
        return create_app(self.services)

    def ask(self, event_id: str) -> Answered:
        """Post a webhook of 20 kB, which needs new pages in any database."""
        body = make_body(SNAPSHOT_PUBLISHED, event_id=f"{self.name}-{event_id}", more="x" * 20_000)
        return self._answered("POST", "/webhooks", data=body, headers=signed(body))

    def _answered(self, method: str, path: str, **more: Any) -> Answered:
        client = self.app.test_client()
        begun = time.monotonic()
        answer = client.open(path, method=method, **more)
        seconds = time.monotonic() - begun
        return Answered(answer.status_code, answer.headers.get("Retry-After"), seconds)

    def run(self) -> Outcome:
        """Ask before it, three at once during it, and until something is taken after it."""
        before = self.ask("before")
        self.begin()
        names = ["during-0", "during-1", "during-2"]
        with ThreadPoolExecutor() as threads:
            ready = threads.submit(self._answered, "GET", "/readyz")
            during = list(threads.map(self.ask, names))
        self.end()
        ended = time.monotonic()
        while self.ask("after").status not in TAKEN:
            assert time.monotonic() - ended < 10
        back_within = time.monotonic() - ended
        # The sender's repeats: what came too late is known by now, and the rest is taken.
        assert {self.ask(name).status for name in names} <= TAKEN
        return Outcome(before, during, ready.result(), back_within, *self._counts())

    def _counts(self) -> tuple[int, int]:
        storage = Storage(self.services.settings.database_url)
        mine = select(webhook_events.c.id).where(webhook_events.c.event_id.startswith(self.name))
        with storage.read() as connection:
            events = connection.execute(mine).all()
            asked_for = connection.execute(select(jobs.c.id).where(jobs.c.event.in_(mine))).all()
        storage.close()
        return len(events), len(asked_for)


def keep_promises(troubles: Sequence[Trouble]) -> None:
    """Run them side by side, and check each outcome."""
    with ThreadPoolExecutor() as threads:
        for trouble in troubles:
            assert trouble.app  # built here: Flask registers routes in one thread only
        outcomes = list(threads.map(Trouble.run, troubles))
    for trouble, outcome in zip(troubles, outcomes, strict=True):
        told = f"{trouble.name}: {outcome}"
        assert outcome.before.status == 202, told
        assert {answer.status for answer in outcome.during} == {503}, told
        assert all(answer.retry_after for answer in outcome.during), told
        assert max(answer.seconds for answer in outcome.during) < LIMIT, told
        assert outcome.ready.seconds < 2 * LIMIT, told
        assert outcome.back_within < LIMIT, told
        assert (outcome.stored, outcome.jobs) == (5, 5), told


class Proxy:
    """Stands between the door and PostgreSQL, and can be cut, frozen and slowed."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._flowing = threading.Event()
        self._flowing.set()
        self._delay = 0.0
        self._sockets: list[socket.socket] = []
        self.port = 0
        self.join()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            self._sockets += [client, server]
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65_536):
                self._flowing.wait()
                time.sleep(self._delay)
                sink.sendall(piece)
        for side in (source, sink):
            _shut(side)

    def join(self) -> None:
        """Listen, after a cut on the same port as before."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Break every connection off and refuse new ones, as when the server is stopped."""
        _shut(self._listener)
        self._listener.close()
        for side in self._sockets:
            _shut(side)

    def freeze(self) -> None:
        """Pass nothing on, and say nothing of it."""
        self._flowing.clear()

    def thaw(self) -> None:
        self._flowing.set()

    def slow(self) -> None:
        """Let each step of a conversation take a second."""
        self._delay = 0.5

    def hurry(self) -> None:
        self._delay = 0.0

    def close(self) -> None:
        self.thaw()
        self.cut()
        for side in self._sockets:
            side.close()


def _shut(side: socket.socket) -> None:
    with contextlib.suppress(OSError):
        side.shutdown(socket.SHUT_RDWR)


@contextmanager
def door(url: str) -> Iterator[WebServices]:
    """The web's services with the time limits of the service."""
    services = build_web(make_settings(database_url=url, rules=(forward_rule(),)))
    try:
        yield services
    finally:
        services.ledger.close()


class Locker:
    """Another process that takes a lock, and lets go when it is told to."""

    def __init__(self, code: str, path: str, *, stopped: bool = False) -> None:
        self._arguments = (sys.executable, "-c", code, path)
        self._stopped = stopped

    def begin(self) -> None:
        self._process = subprocess.Popen(
            self._arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout
        assert self._process.stdout.readline() == b"locked\n"
        if self._stopped:
            self._process.send_signal(signal.SIGSTOP)

    def end(self) -> None:
        self._process.send_signal(signal.SIGCONT)
        self._process.communicate(timeout=5)


TAKE_WRITE_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""
TAKE_FILE_LOCK = """
import fcntl, sys
lock = open(sys.argv[1] + ".lock", "a")
fcntl.flock(lock, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


class Disk:
    """Lets the database of a door grow no more."""

    def __init__(self, services: WebServices) -> None:
        self._most = 0
        event.listen(services.ledger._storage.engine, "begin", self._limit)

    def _limit(self, connection: Connection) -> None:
        if self._most:
            connection.exec_driver_sql(f"PRAGMA max_page_count={self._most}")

    def fill(self) -> None:
        self._most = 1  # SQLite takes as many as there are

    def clear(self) -> None:
        self._most = 1_000_000


def test_sqlite_that_is_full_or_locked_loses_nothing_and_hangs_nobody(tmp_path: Path) -> None:
    with ExitStack() as stack:
        doors: dict[str, WebServices] = {}
        for name in ("full", "locked", "stopped"):
            url = f"sqlite:///{tmp_path}/{name}.db"
            with contextlib.closing(Storage(url)) as storage:
                upgrade_schema(storage)
            doors[name] = stack.enter_context(door(url))
        disk = Disk(doors["full"])
        writer = Locker(TAKE_WRITE_LOCK, f"{tmp_path}/locked.db")
        stopped = Locker(TAKE_FILE_LOCK, f"{tmp_path}/stopped.db", stopped=True)
        keep_promises(
            [
                Trouble("full", doors["full"], disk.fill, disk.clear),
                Trouble("locked", doors["locked"], writer.begin, writer.end),
                Trouble("stopped", doors["stopped"], stopped.begin, stopped.end),
            ]
        )


@pytest.mark.postgres
def test_postgresql_that_is_gone_frozen_or_slow_loses_nothing_and_hangs_nobody(
    postgres_url: str,
) -> None:
    url = make_url(postgres_url)
    with contextlib.closing(Storage(postgres_url)) as storage:
        upgrade_schema(storage)
    with ExitStack() as stack:
        troubles = []
        for name, begin, end in (
            ("gone", Proxy.cut, Proxy.join),
            ("frozen", Proxy.freeze, Proxy.thaw),
            ("slow", Proxy.slow, Proxy.hurry),
        ):
            proxy = Proxy((url.host or "127.0.0.1", url.port or 5432))
            stack.callback(proxy.close)
            through = url.set(host="127.0.0.1", port=proxy.port)
            services = stack.enter_context(door(through.render_as_string(hide_password=False)))
            troubles.append(Trouble(name, services, partial(begin, proxy), partial(end, proxy)))
        keep_promises(troubles)
