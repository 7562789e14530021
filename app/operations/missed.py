"""Missed webhooks: find what Amplience could not deliver in its own log, and recover it.

Run by a schedule or a command. An event that is not in the database is written there with the jobs
that the rules want of it, as far as the item's present state still asks for them. It may run in
several processes at once: ids are made from the event's own, so nothing is written twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from app.amplience.management import ManagementClient
from app.amplience.publishing import PUBLISHED
from app.amplience.webhooks import WebhookLogPage
from app.config import Destination, Hub, Rule
from app.db import Storage
from app.errors import NotFound, WebhookRejected
from app.events import (
    ContentItem,
    WebhookEvent,
    is_future,
    isoformat,
    read_moment,
    without_future_dates,
)
from app.operations.webhook_log import LoggedRequest, own_webhooks, read_entry
from app.queue import accept
from app.queue.checkpoints import known_event_ids, read_checkpoint, write_checkpoint
from app.rules import Plan, match
from app.schemas import load_event

ORIGIN = "missed"
# A request that was under way when the log was read has ended by then, one way or the other.
OVERLAP = timedelta(hours=1)
_PAGE = 100
# Should the log never end, we must.
_MOST_PAGES = 1000
# How far a schedule looks back when it looks for the first time.
_FIRST_SINCE = 86_400.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class MissedEvent:
    """An event that did not arrive, with the actions that are still to be done for it."""

    event_id: str
    name: str
    item_id: str | None
    actions: tuple[str, ...]


@dataclass
class Report:
    """What was found. Counts are of requests; `unreadable` ones name no event that can be made."""

    requests: int = 0
    pending: int = 0
    failed: int = 0
    known: int = 0
    unreadable: int = 0
    missed: list[MissedEvent] = field(default_factory=list)


@dataclass(frozen=True)
class MissedWebhooks:
    """Looks for missed webhooks of one hub. `clock` tells the time in seconds since 1970."""

    storage: Storage
    client: ManagementClient
    hub: Hub
    rules: Sequence[Rule]
    destinations: Sequence[Destination]
    clock: Callable[[], float]

    def read(self, webhook_id: str, *, since: float, dry_run: bool = False) -> Report:
        """Read the log back to where it was read, or `since` seconds, and make up for the rest.

        With `dry_run` nothing is written. Raises `AmplienceError` and `StorageUnavailable`; what
        was written until then stays, and the log is read again from the same place.
        """
        report = Report()
        mark = f"missed:{self.hub.key}:{webhook_id}"
        bound = self._bound(mark, since)
        newest: datetime | None = None
        for page in self._pages(webhook_id):
            entries = [self._read_entry(entry) for entry in page.requests]
            moments = [entry.at for entry in entries if entry.at]
            newest = max([*moments, *([newest] if newest else [])], default=None)
            wanted = [entry for entry in entries if entry.at is None or entry.at >= bound]
            self._make_up(wanted, report, dry_run=dry_run)
            if _is_past(moments, bound):
                break
        if newest and not dry_run:
            write_checkpoint(self.storage, mark, {"until": isoformat(newest)})
        return report

    def read_lately(self, webhook_id: str, *, within: float) -> bool:
        """Tell whether the log was read within so many seconds, maybe by another process."""
        mark = read_checkpoint(self.storage, f"missed:{self.hub.key}:{webhook_id}")
        return mark is not None and mark.age < within

    def _bound(self, mark: str, since: float) -> datetime:
        now = self._now()
        bound = now - timedelta(seconds=since)
        kept = read_checkpoint(self.storage, mark)
        until = (
            read_moment(kept.value.get("until")) if kept and isinstance(kept.value, dict) else None
        )
        # A mark that cannot be read, or in the future, would hide what was missed.
        if until is None or until < bound or is_future(until, now):
            return bound
        return max(bound, until - OVERLAP)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.clock(), tz=UTC)

    def _read_entry(self, entry: Mapping[str, Any]) -> LoggedRequest:
        found = read_entry(entry)
        return replace(found, at=None) if found.at and is_future(found.at, self._now()) else found

    def _pages(self, webhook_id: str) -> Iterator[WebhookLogPage]:
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            page = self.client.webhook_requests(
                self.hub.id or "", webhook_id, cursor=cursor, limit=_PAGE
            )
            yield page
            if page.cursor in (None, cursor):
                return
            cursor = page.cursor

    def _make_up(self, entries: list[LoggedRequest], report: Report, *, dry_run: bool) -> None:
        report.requests += len(entries)
        report.pending += sum(entry.outcome == "pending" for entry in entries)
        undelivered = [entry for entry in entries if entry.outcome in ("failed", "unknown")]
        report.failed += len(undelivered)
        ids = {entry.event_id for entry in undelivered if entry.event_id}
        known = known_event_ids(self.storage, self.hub.key, ids | {_own_id(one) for one in ids})
        seen = {one.event_id for one in report.missed}
        batch: list[tuple[WebhookEvent, list[Plan]]] = []
        for entry in undelivered:
            if entry.event_id in seen or {entry.event_id, _own_id(entry.event_id)} & known:
                report.known += 1
                continue
            found = self._event(entry)
            if found is None:
                report.unreadable += 1
                continue
            event, plans = found
            batch.append(found)
            seen.add(entry.event_id or "")
            actions = tuple(plan.action for plan in plans)
            missed = MissedEvent(entry.event_id or "", event.name, event.item_id, actions)
            report.missed.append(missed)
        if batch and not dry_run:
            accept(self.storage, batch)

    def read_on_schedule(self, *, every: float) -> None:
        """Read the log of the hub's own webhook, unless another process has done it meanwhile.

        Without a webhook of ours, or with several, there is nothing that could be read.
        """
        hub_id = self.hub.id or ""
        own = own_webhooks(self.client.webhooks(hub_id), self.hub.webhook_secrets)
        if len(own) != 1:
            _log.warning("missed.no-webhook", hub=self.hub.key, webhooks=len(own))
            return
        if self.read_lately(own[0].id, within=every * 0.8):
            return
        report = self.read(own[0].id, since=_FIRST_SINCE)
        if report.missed or report.unreadable:
            _log.warning(
                "missed.made-up",
                hub=self.hub.key,
                events=len(report.missed),
                unreadable=report.unreadable,
            )

    def _event(self, entry: LoggedRequest) -> tuple[WebhookEvent, list[Plan]] | None:
        """The event as it would be now, with what is to be done for it still."""
        if entry.envelope is None:
            return None
        try:
            event = load_event(json.dumps(entry.envelope).encode(), hub=self.hub.key)
        except WebhookRejected:
            return None
        event, _ = without_future_dates(event, self._now())
        event = replace(event, id=_own_id(event.id), origin=ORIGIN)
        ids = [one.item_id for one in event.by_item() if one.item_id]
        items = {each: item for each in ids if (item := self._item(each))}
        if event.item_id in items:
            event = _as_of_now(event, items[event.item_id])
        plans = match(event, self.rules, self.destinations)
        found = ((plan, items.get(plan.args["item_id"])) for plan in plans)
        return event, [plan for plan, item in found if item and _is_asked_for(plan, item)]

    def _item(self, item_id: str) -> ContentItem | None:
        try:
            return self.client.content_item(item_id)
        except NotFound as error:
            if error.refusing:
                raise
            return None


def _own_id(event_id: str | None) -> str:
    return f"{ORIGIN}-{event_id}"


def _is_past(moments: Sequence[datetime], bound: datetime) -> bool:
    """Tell whether what follows is older still: only in a log that begins with the newest."""
    return bool(moments) and max(moments) < bound and moments[0] >= moments[-1]


def _as_of_now(event: WebhookEvent, item: ContentItem) -> WebhookEvent:
    if event.snapshot_id is not None or item.status is None:
        return event
    payload: dict[str, Any] = {**event.payload, "status": item.status}
    return replace(event, payload=payload, status=item.status)


def _is_asked_for(plan: Plan, item: ContentItem) -> bool:
    """Tell whether the item's present state still asks for the action."""
    if plan.action == "forward":
        return item.publishing_status in PUBLISHED
    if plan.action == "localize":
        return item.status in (None, "ACTIVE")
    return item.status == "ARCHIVED"
