"""Retry and replay what a filter finds, page by page, so that no call takes long.

A caller goes on with the cursor that it is given, until there is none. What comes in meanwhile is
newer than the first page and is left alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from app.db import Storage
from app.errors import NoSuchRecord, VerbRefused
from app.queue.filters import EventFilter, JobFilter
from app.queue.mending import replay_in, retry_in, ring
from app.queue.paging import LONGEST_PAGE
from app.queue.records import StoredEvent
from app.queue.searching import list_events, list_jobs, read_events
from app.rules import Plan

# Jobs or events of one transaction: the door must not wait long for the database's one writer.
_TOGETHER = 50


@dataclass(frozen=True)
class Retried:
    """How many jobs were retried, and where to go on.

    `superseded` counts those that a newer job for the same item made pointless, `refused` the
    others by reason.
    """

    jobs: int = 0
    superseded: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    next: str | None = None


@dataclass(frozen=True)
class ReplayedMany:
    """How many events were replayed into how many new jobs, and where to go on.

    `active` counts jobs that were waiting or running already. `refused` counts events by reason:
    a body that cannot be read, a hub that is gone.
    """

    events: int = 0
    jobs: int = 0
    active: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    next: str | None = None


def retry_where(
    storage: Storage, wanted: JobFilter, *, limit: int = LONGEST_PAGE, cursor: str | None = None
) -> Retried:
    """Retry one page of the jobs that the filter finds; see `retry_job`."""
    page = list_jobs(storage, wanted, limit=limit, cursor=cursor)
    states, refused = Counter[str](), Counter[str]()
    # The newest first: of two dead jobs for one item only that one is sent.
    for group in _groups([row.id for row in page.rows]):
        with storage.write() as connection:
            for identifier in group:
                try:
                    states[retry_in(connection, identifier)] += 1
                except (NoSuchRecord, VerbRefused) as error:
                    refused[error.reason] += 1
            ring(connection)
    return Retried(states["waiting"], states["superseded"], refused, page.next)


def replay_where(
    storage: Storage,
    wanted: EventFilter,
    plan: Callable[[StoredEvent], Sequence[Plan]],
    *,
    limit: int = LONGEST_PAGE,
    cursor: str | None = None,
) -> ReplayedMany:
    """Replay one page of the events that the filter finds; see `replay_event`.

    `plan` says what the current rules make of an event; a `VerbRefused` from it is counted.
    """
    page = list_events(storage, wanted, limit=limit, cursor=cursor)
    events, made, active, refused = 0, 0, 0, Counter[str]()
    for group in _groups([row.id for row in reversed(page.rows)]):
        planned: list[tuple[int, Sequence[Plan]]] = []
        for stored in read_events(storage, group):
            try:
                planned.append((stored.id, plan(stored)))
            except VerbRefused as error:
                refused[error.reason] += 1
        with storage.write() as connection:
            for identifier, plans in planned:
                try:
                    replayed = replay_in(connection, identifier, plans)
                except NoSuchRecord as error:
                    refused[error.reason] += 1
                    continue
                events += 1
                made += len(replayed.made)
                active += len(replayed.active)
            ring(connection)
    return ReplayedMany(events, made, active, refused, page.next)


def _groups(identifiers: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(identifiers), _TOGETHER):
        yield identifiers[start : start + _TOGETHER]
