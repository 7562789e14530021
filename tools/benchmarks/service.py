"""Starts the processes that are measured, as their users do, on loopback and in a folder of theirs.

Every process that is started here is ended here.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import requests

from app.storage import Storage, upgrade_schema
from tools.drill.stores import PostgresStore, SqliteStore, Store, free_port

DOOR = "app.web.wsgi:app"
BARE = "tools.benchmarks.bare:app"
ROOT = Path(__file__).resolve().parents[2]
SECRET = secrets.token_urlsafe(24)
# Ours, and what would change how the service is started.
_OURS = ("AMPLIENCE_", "FORWARD_", "LOCALIZE_", "RELAY_", "WEB", "SENTRY_", "LOG_", "OTEL_")


@dataclass(frozen=True)
class Process:
    """A running process, and where it listens, if it does."""

    popen: subprocess.Popen[bytes]
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def tree(self) -> list[int]:
        """The process ids of it and of its children."""
        children = Path(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children").read_text()
        return [self.popen.pid, *map(int, children.split())]


@contextlib.contextmanager
def databases() -> Iterator[list[Store]]:
    """Both databases, new and with our tables."""
    with (
        tempfile.TemporaryDirectory(prefix="dc-relay-") as folder,
        contextlib.ExitStack() as opened,
    ):
        place = Path(folder)
        stores: list[Store] = []
        for kind in (SqliteStore, PostgresStore):
            (place / kind.name).mkdir()
            store: Store = kind(place / kind.name)
            opened.callback(store.close)
            make_tables(store.url)
            stores.append(store)
        yield stores


def opened(url: str) -> Storage:
    """The database, for a look from the outside."""
    return Storage(url.replace("postgresql://", "postgresql+psycopg://"))


def make_tables(url: str) -> None:
    storage = opened(url)
    upgrade_schema(storage)
    storage.close()


def environment(database_url: str, **changes: str) -> dict[str, str]:
    """What a service with one forward rule is given; nothing is listening at its addresses."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return {
        **kept,
        "DATABASE_URL": database_url,
        "WEBHOOK_SECRET": SECRET,
        "AMPLIENCE_HUB_NAME": "bench",
        "FORWARD_URL": "http://127.0.0.1:9/",
        "FORWARD_ALLOW_PRIVATE": "1",
        **changes,
    }


@contextlib.contextmanager
def web(environ: Mapping[str, str], *, app: str = DOOR, processes: int = 1) -> Iterator[Process]:
    """Serve `app` with gunicorn, as the Procfile does."""
    port = free_port()
    command = ("-m", "gunicorn", "-c", "python:app.web.gunicorn_config", app)
    changes = {"PORT": str(port), "WEB_CONCURRENCY": str(processes)}
    with started(command, {**environ, **changes}, port) as process:
        wait_for(process, f"{process.url}/healthz")
        yield process


@contextlib.contextmanager
def worker(environ: Mapping[str, str]) -> Iterator[Process]:
    """Run a worker."""
    with started(("-m", "app", "worker"), environ) as process:
        yield process


@contextlib.contextmanager
def started(
    command: tuple[str, ...], environ: Mapping[str, str], port: int = 0
) -> Iterator[Process]:
    """Run Python with these arguments; its log goes to a file that is shown if it ends early."""
    with tempfile.TemporaryFile() as log:
        popen = subprocess.Popen(
            (sys.executable, *command), cwd=ROOT, env=dict(environ), stdout=log, stderr=log
        )
        try:
            yield Process(popen, port)
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read()[-4000:].decode(errors="replace"))
            raise
        finally:
            if popen.poll() is None:
                popen.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    popen.wait(40)
            if popen.poll() is None:
                popen.kill()


def wait_for(process: Process, url: str, timeout: float = 30) -> float:
    """Wait for a 200; the seconds that it took."""
    started_at = time.monotonic()
    while time.monotonic() < started_at + timeout:
        with contextlib.suppress(requests.RequestException):
            if requests.get(url, timeout=1).ok:
                return time.monotonic() - started_at
        if process.popen.poll() is not None:
            break
        time.sleep(0.02)
    raise RuntimeError(f"{url} did not come up")
