"""Fills a database with work, past the door: the same rows, in large transactions."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from itertools import islice

from sqlalchemy import func, select

from app.config import load_settings
from app.config.environment import HUB_KEY
from app.ledger import accept
from app.rules import match
from app.schemas import load_event
from app.storage import Storage
from app.storage.tables import beats, in_state, jobs
from tools.benchmarks.load import body_of
from tools.benchmarks.service import opened

_AT_ONCE = 500


def fill(environ: Mapping[str, str], requests: Iterator[bytes], count: int) -> None:
    """Accept so many webhooks, with the jobs that the rules of `environ` make of them."""
    settings = load_settings(environ)
    storage = Storage(settings.database_url)
    try:
        while count > 0:
            events = [
                load_event(body_of(request), hub=HUB_KEY)
                for request in islice(requests, min(_AT_ONCE, count))
            ]
            accept(
                storage,
                [(event, match(event, settings.rules, settings.destinations)) for event in events],
            )
            count -= len(events)
    finally:
        storage.close()


def left(storage: Storage) -> int:
    """How many jobs wait or run."""
    with storage.read() as connection:
        statement = select(func.count()).where(in_state(jobs, "waiting", "running"))
        return int(connection.execute(statement).scalar_one())


def wait_for_workers(database_url: str, count: int, timeout: float = 30) -> None:
    """Wait until so many workers have given their first sign of life."""
    storage = opened(database_url)
    end = time.monotonic() + timeout
    try:
        while time.monotonic() < end:
            with storage.read() as connection:
                alive = connection.execute(select(func.count()).select_from(beats)).scalar_one()
            if alive >= count:
                return
            time.sleep(0.05)
    finally:
        storage.close()
    raise RuntimeError(f"{count} workers did not start")
