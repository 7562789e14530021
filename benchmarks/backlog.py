"""Fills a database with work, past the door: the same rows, in large transactions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

from sqlalchemy import func, select

from app.config import load_settings
from app.config.environment import HUB_KEY
from app.ledger import accept
from app.rules import match
from app.schemas import load_event
from app.storage import Storage
from app.storage.tables import in_state, jobs
from benchmarks.load import body_of

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


def done(storage: Storage) -> int:
    """How many jobs have succeeded."""
    return _count(storage, "succeeded")


def left(storage: Storage) -> int:
    """How many jobs wait or run."""
    return _count(storage, "waiting", "running")


def _count(storage: Storage, *states: str) -> int:
    with storage.read() as connection:
        statement = select(func.count()).select_from(jobs).where(in_state(jobs, *states))
        return int(connection.execute(statement).scalar_one())
