"""Starts the service's own processes, as a platform would, and looks at what they leave."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import requests
from sqlalchemy import select

from app.db import Storage
from app.db.tables import attempts, jobs
from app.events import SNAPSHOT_PUBLISHED
from sandbox import SandboxServer
from tests.builders import encoded, make_message, signed
from tests.relay import SECRET

ROOT = Path(__file__).parents[2]
SERVE = ("-m", "app", "serve")
WORKER = ("-m", "app", "worker")
# A worker that stops itself in the middle of its first claim; see that module.
STOPPING_WORKER = ("-m", "tests.processes.stopping_worker")
WEB = ("-m", "app.web", "-c", "python:app.web.gunicorn_config", "app.web.wsgi:app")
# A worker whose lease and beat are short, and which can be told to die; see that module.
QUICK_WORKER = ("-m", "tests.processes.quick_worker")

Found = TypeVar("Found")


def eventually(look: Callable[[], Found], timeout: float = 20, every: float = 0.05) -> Found:
    """What `look` finds as soon as that is true; fails after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {timeout} s: {look.__qualname__}"
        time.sleep(every)
    return found


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and that nobody has asked about yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def is_stopped(pid: int) -> bool:
    """Whether a process was stopped by SIGSTOP."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def descendants(pid: int) -> set[int]:
    """The processes below one, found by their parents."""
    below: dict[int, set[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            below.setdefault(int(fields[1]), set()).add(int(entry.name))
    found: set[int] = set()
    level = {pid}
    while level:
        level = {child for parent in level for child in below.get(parent, set())} - found
        found |= level
    return found


class Running:
    """One process of ours, its log in a file."""

    def __init__(
        self, arguments: Sequence[str], environ: Mapping[str, str], directory: Path
    ) -> None:
        self._log = directory / f"{time.monotonic_ns()}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                (sys.executable, *arguments),
                # Nothing of the caller's settings, and no relay.toml of the checkout.
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environ},
                cwd=directory,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.pid = self.process.pid

    @property
    def log(self) -> str:
        return self._log.read_text()

    def lines(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """The log's lines of one event name."""
        found = [json.loads(line) for line in self.log.splitlines() if f'"{event}"' in line]
        return [
            line
            for line in found
            if line.get("event") == event
            and all(line.get(name) == value for name, value in fields.items())
        ]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ended(self, timeout: float = 15) -> int:
        """Wait for the end; returns the exit status."""
        return self.process.wait(timeout)

    def end(self) -> None:
        """Stop it and all that it started, whatever state that is in."""
        below = descendants(self.pid)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(8)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pid in below:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def started(
    arguments: Sequence[str], environ: Mapping[str, str], directory: Path
) -> Iterator[Running]:
    """Run a process for a block; when the block fails its log is shown."""
    running = Running(arguments, environ, directory)
    try:
        yield running
    except BaseException:
        sys.stderr.write(running.log[-3000:])
        raise
    finally:
        running.end()


def await_ready(url: str, path: str = "/readyz") -> None:
    """Wait until the web answers 200."""

    def ready() -> bool:
        try:
            return requests.get(f"{url}{path}", timeout=3).status_code == 200
        except requests.RequestException:
            return False

    eventually(ready, 20)


def snapshot_body(item_id: str, event_id: str) -> bytes:
    """The body of a webhook that says that an item was published."""
    message = make_message(SNAPSHOT_PUBLISHED, event_id=event_id)
    message["payload"]["rootContentItem"]["id"] = item_id
    message["payload"].pop("createdDate", None)
    return encoded(message)


def post(url: str, item_id: str, event_id: str, timeout: float = 5) -> requests.Response:
    """Send such a webhook, signed."""
    body = snapshot_body(item_id, event_id)
    return requests.post(
        f"{url}/webhooks", data=body, headers=signed(body, SECRET), timeout=timeout
    )


def messages_by_item(sandbox: SandboxServer) -> dict[str, list[str]]:
    """The `webhook-id` of every message that the downstream got, by the item that it is about."""
    found: dict[str, list[str]] = {}
    for one in sandbox.received("default"):
        item = json.loads(one.body)["data"]["item"]["id"]
        headers = {name.lower(): value for name, value in one.headers.items()}
        found.setdefault(item, []).append(headers["webhook-id"])
    return found


def job_rows(storage: Storage) -> list[dict[str, Any]]:
    with storage.read() as connection:
        return [
            dict(row) for row in connection.execute(select(jobs).order_by(jobs.c.id)).mappings()
        ]


def states(storage: Storage) -> list[str]:
    return [row["state"] for row in job_rows(storage)]


def outcomes(storage: Storage, job_id: int) -> list[str]:
    with storage.read() as connection:
        found = select(attempts.c.outcome).where(attempts.c.job == job_id).order_by(attempts.c.id)
        return list(connection.execute(found).scalars())


def side_by_side(trial: Callable[[str], None], urls: Sequence[str]) -> None:
    """Run one trial on several databases at once: most of its time is waiting."""
    with ThreadPoolExecutor(len(urls)) as threads:
        for future in [threads.submit(trial, url) for url in urls]:
            future.result()
