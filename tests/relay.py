"""The whole service within the test's process: web, worker and database, against a sandbox.

The parts are the real ones, joined by the real composition root; only the processes are missing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import select
from werkzeug.serving import WSGIRequestHandler, make_server

from app.actions.forward import ForwardTiming
from app.bootstrap import build_web, build_worker
from app.config import Settings, load_settings
from app.db import Storage, upgrade_schema
from app.db.tables import attempts, beats, jobs
from app.queue import Counts, counts
from app.web import create_app
from app.worker import WorkerOptions
from sandbox import SandboxServer

SECRET = "the-webhook-secret"
QUICK = WorkerOptions(threads=8, beat_every=0.2, grace=5, idle=0.2)


def environment(sandbox: SandboxServer, database_url: str, **changes: str) -> dict[str, str]:
    """The environment that points the service at a sandbox, with both main jobs switched on."""
    options = sandbox.state.options
    return {
        "DATABASE_URL": database_url.replace("postgresql+psycopg://", "postgresql://"),
        "WEBHOOK_SECRET": SECRET,
        "AMPLIENCE_AUTH_URL": sandbox.url,
        "AMPLIENCE_API_URL": f"{sandbox.url}/v2/content",
        "AMPLIENCE_DELIVERY_URL": f"{sandbox.url}/fresh",
        "AMPLIENCE_FRESH_API_KEY": options.fresh_api_key,
        "AMPLIENCE_HUB_ID": options.hub_id,
        "AMPLIENCE_HUB_NAME": options.hub_name,
        "AMPLIENCE_CLIENT_ID": options.client_id,
        "AMPLIENCE_CLIENT_SECRET": options.client_secret,
        "LOCALIZE_LOCALES": "fr-FR,de-DE",
        "LOCALIZE_SOURCE_LOCALE": "en-GB",
        "FORWARD_URL": f"{sandbox.url}/downstream/default",
        "FORWARD_ALLOW_PRIVATE": "1",
        **changes,
    }


def eventually(test: Callable[[], bool], timeout: float = 5) -> bool:
    """Wait until `test` holds; tells whether it did in time."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if test():
            return True
        time.sleep(0.01)
    return test()


class _Quiet(WSGIRequestHandler):
    def log(self, *_: Any, **__: Any) -> None:
        return


class Relay:
    """The running service; `url` is its door."""

    def __init__(self, settings: Settings, storage: Storage, url: str) -> None:
        self.settings = settings
        self.storage = storage
        self.url = url

    def counts(self) -> Counts:
        """What is in the ledger."""
        return counts(self.storage)

    def wait_for(self, timeout: float = 10, **states: int) -> Counts:
        """Wait until there are exactly so many jobs in each of these states, and none active."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            found = self.counts()
            if found.jobs == states:
                return found
            time.sleep(0.02)
        raise AssertionError(f"waited for {states}, found {found.jobs}: {self.jobs()}")

    def jobs(self) -> list[dict[str, Any]]:
        """Every job's row."""
        with self.storage.read() as connection:
            rows = connection.execute(select(jobs).order_by(jobs.c.id)).mappings()
            return [dict(row) for row in rows]

    def outcomes(self, job_id: int) -> list[str]:
        """The outcomes of a job's attempts."""
        with self.storage.read() as connection:
            statement = select(attempts.c.outcome).where(attempts.c.job == job_id)
            return list(connection.execute(statement.order_by(attempts.c.id)).scalars())


@contextmanager
def running(
    environ: Mapping[str, str], *, worker: bool = True, forward_timing: ForwardTiming | None = None
) -> Iterator[Relay]:
    """Run the service; without `worker` only its door."""
    settings = load_settings(environ)
    storage = Storage(settings.database_url)
    upgrade_schema(storage)
    services = build_web(settings)
    server = make_server(
        "127.0.0.1", 0, create_app(services), threaded=True, request_handler=_Quiet
    )
    serving = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    serving.start()
    try:
        relay = Relay(settings, storage, f"http://127.0.0.1:{server.port}")
        if worker:
            with working(settings, forward_timing=forward_timing):
                yield relay
        else:
            yield relay
    finally:
        server.shutdown()
        serving.join(5)
        server.server_close()
        services.ledger.close()
        storage.close()


@contextmanager
def working(
    settings: Settings,
    options: WorkerOptions = QUICK,
    *,
    forward_timing: ForwardTiming | None = None,
) -> Iterator[None]:
    """Run one worker in a thread; it has told that it lives when the block begins."""
    built = build_worker(settings, options=options, forward_timing=forward_timing)
    thread = threading.Thread(target=built.worker.run)
    thread.start()
    try:
        assert eventually(lambda: _has_beaten(settings, built.worker.owner)), "no beat in time"
        yield
    finally:
        built.worker.stop()
        thread.join(10)
        built.close()


def _has_beaten(settings: Settings, owner: str) -> bool:
    storage = Storage(settings.database_url)
    try:
        with storage.read() as connection:
            statement = select(beats.c.owner).where(beats.c.owner == owner)
            return connection.execute(statement).first() is not None
    finally:
        storage.close()
