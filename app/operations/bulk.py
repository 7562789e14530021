"""Bulk runs: list existing items, write a job for each, and watch the jobs.

Each item becomes an event with jobs, as a webhook would make them; the workers do the jobs. A run
can be stopped at any moment, and the same operation with the same `args` continues it.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import count
from typing import Any, ClassVar, TypeVar

from app.amplience.facets import FacetQuery
from app.amplience.management import ManagementClient
from app.amplience.management_http import PAGE_SIZE
from app.config import Hub, Rule, Settings
from app.db import Storage
from app.errors import AmplienceError
from app.events import ContentItem, WebhookEvent
from app.queue import readiness
from app.queue.bulk import (
    ORIGIN,
    BulkRun,
    RunState,
    accept_for_run,
    close_run,
    items_of_run,
    open_run,
    run_state,
)
from app.rules import Plan

_RETRY_PAUSES = (0.5, 2.0, 10.0, 30.0)
# A worker's heartbeat comes every 2.5 s; one that is silent for longer is gone.
_OLDEST_HEARTBEAT = 15.0
_LONGEST_POLL = 1.0
_ALL_LISTED = "all-listed"

T = TypeVar("T")


@dataclass(frozen=True)
class BulkItem:
    """One content item, and in a word (`verb`) what is done with it.

    `extra` is input for the operation's own plans.
    """

    id: str
    verb: str
    label: str | None = None
    schema: str | None = None
    locale: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """A part of the listing, and where to continue after it; None: from the start again.

    `notice` is text for the operator.
    """

    items: tuple[BulkItem, ...] = ()
    position: Any = None
    notice: str | None = None


@dataclass(frozen=True)
class BulkOperation(ABC):
    """What one kind of run lists and plans."""

    kind: ClassVar[str]
    hub: Hub

    @property
    @abstractmethod
    def args(self) -> dict[str, Any]:
        """What makes two runs the same, as plain JSON."""

    @abstractmethod
    def parts(self, position: Any, listed: Callable[[], set[str]]) -> Iterator[Part]:
        """List items from `position` on; `listed` returns the ids listed so far."""

    @abstractmethod
    def plans(self, event: WebhookEvent, item: BulkItem) -> list[Plan]:
        """Say which jobs the event of one item asks for."""


def dry_run(operation: BulkOperation) -> Iterator[Part]:
    """List what a run would do, an item that comes twice only once. Writes nothing."""
    listed: set[str] = set()
    for part in operation.parts(None, listed.copy):
        yield replace(part, items=tuple(item for item in part.items if item.id not in listed))
        listed.update(item.id for item in part.items)


class BulkSession:
    """One process at work on a run, new or continued (`run.resumed`).

    At most `per_minute` items come due in a minute (None: no limit), so that webhooks' jobs run in
    between. Methods raise `StorageUnavailable`.
    """

    def __init__(
        self, storage: Storage, operation: BulkOperation, *, per_minute: float | None, restart: bool
    ) -> None:
        self._storage = storage
        self._operation = operation
        self._gap = 60 / per_minute if per_minute else 0.0
        self._started = time.monotonic()
        self.run = open_run(storage, operation.kind, operation.args, restart=restart)

    def list_items(self) -> Iterator[tuple[int, Part]]:
        """Write jobs for all items that are not listed yet; yields the count so far and the part.

        Raises what the operation's `parts` raises. A finished listing is not repeated.
        """
        run = self.run
        if run.position == _ALL_LISTED:
            return
        before = listed = run.counts.get("listed", 0) if run.position is not None else 0
        for part in self._operation.parts(run.position, self.listed_items):
            batch = [
                self._entry(item, self._due_in(before, number))
                for number, item in enumerate(part.items, start=listed)
            ]
            listed += len(batch)
            counts = {"listed": listed}
            accept_for_run(self._storage, run, batch, position=part.position, counts=counts)
            yield listed, part
        counts = {"listed": listed}
        accept_for_run(self._storage, run, [], position=_ALL_LISTED, counts=counts)

    def listed_items(self) -> set[str]:
        """The ids of the items that the run has listed, also in earlier processes."""
        return items_of_run(self._storage, self.run)

    def state(self) -> RunState:
        """Count the run's jobs by state."""
        return run_state(self._storage, self.run)

    def watch(self, *, timeout: float | None) -> Iterator[RunState]:
        """Yield the state again and again until all jobs have ended.

        `timeout` in seconds counts from the session's start; None: no end.
        """
        pause = 0.05
        while True:
            state = self.state()
            yield state
            left = None if timeout is None else self._started + timeout - time.monotonic()
            if is_over(state) or (left is not None and left <= 0):
                return
            time.sleep(pause if left is None else min(pause, left))
            pause = min(_LONGEST_POLL, pause * 1.5)

    def close(self) -> None:
        """Record that the run is done: the same operation begins a new run."""
        close_run(self._storage, self.run)

    def has_worker(self) -> bool:
        """Tell whether any worker has sent a heartbeat lately."""
        age = readiness(self._storage).worker_beat_age
        return age is not None and age < _OLDEST_HEARTBEAT

    def _due_in(self, before: int, number: int) -> float:
        """Seconds until the item comes due, with `before` items listed by earlier processes."""
        # A run that stood still for an hour does not make up for it all at once.
        waiting = max(0.0, before * self._gap - (self.run.opened_at - self.run.created_at) / 1000)
        return waiting + (number - before) * self._gap - (time.monotonic() - self._started)

    def _entry(self, item: BulkItem, due_in: float) -> tuple[WebhookEvent, list[Plan]]:
        event = _event(self.run, self._operation, item)
        plans = self._operation.plans(event, item)
        return event, [replace(plan, delay=max(plan.delay, due_in)) for plan in plans]


def is_over(state: RunState) -> bool:
    """Tell whether all jobs of a run have ended."""
    return state.ended == state.total


def _event(run: BulkRun, operation: BulkOperation, item: BulkItem) -> WebhookEvent:
    """The event of one item: the same each time that the run lists it, whatever changed."""
    name = f"dc-relay.bulk.{operation.kind}"
    identifier = f"{run.name}-{item.id}"
    payload = {"id": item.id, "run": run.name}
    envelope = {"id": identifier, "name": name, "requestId": run.name, "payload": payload}
    return WebhookEvent(
        hub=operation.hub.key,
        id=identifier,
        name=name,
        payload=payload,
        body=json.dumps(envelope).encode(),
        item_id=item.id,
        request_id=run.name,
        schema=item.schema,
        label=item.label,
        locale=item.locale,
        origin=ORIGIN,
    )


def patiently(call: Callable[[], T]) -> T:
    """Return what `call` returns, with a few retries for transient errors of Amplience.

    One bad answer must not end a listing of thousands of items.
    """
    for pause in _RETRY_PAUSES:
        try:
            return call()
        except AmplienceError as problem:
            if not problem.transient:
                raise
            time.sleep(max(pause, min(problem.retry_after or 0, _RETRY_PAUSES[-1])))
    return call()


def found_items(
    client: ManagementClient, hub_id: str, query: FacetQuery
) -> Iterator[list[ContentItem]]:
    """Everything that a search finds, page by page, an item that comes twice only once.

    Nothing that the search finds may change before the last page was read.
    """
    seen: set[str] = set()
    for number in count():
        page = patiently(lambda at=number: client.facet(hub_id, query, page=at))  # type: ignore[misc]
        new = [item for item in page.items if item.id not in seen]
        yield new
        seen |= {item.id for item in new}
        if page.pages is not None:
            is_last = number + 1 >= page.pages
        else:
            # A service that does not count pages may not turn them either.
            is_last = len(page.items) < PAGE_SIZE or not new
        if is_last or not page.items:
            return


def bulk_item(item: ContentItem, verb: str) -> BulkItem:
    """Make the listing's item of a content item."""
    return BulkItem(item.id, verb, label=item.label, schema=item.schema, locale=item.locale)


def is_glob(text: str) -> bool:
    """Tell whether the text stands for many values."""
    return any(letter in text for letter in "*?[")


def fits(value: str | None, globs: tuple[str, ...]) -> bool:
    """Tell whether the value matches one of the globs; without any, each value does."""
    return not globs or (value is not None and any(fnmatchcase(value, glob) for glob in globs))


def rules_of(settings: Settings, hub: Hub) -> list[Rule]:
    """The rules that apply to events of the hub."""
    return [rule for rule in settings.rules if rule.hub in (None, hub.key)]
