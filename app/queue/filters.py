"""Filters of events and jobs, and their SQL conditions.

Every field of a filter narrows it; None leaves it open.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    FromClause,
    and_,
    exists,
    func,
    or_,
    select,
    union_all,
)

from app.db.json_rows import document_text
from app.db.tables import event_items, in_state, jobs, webhook_events
from app.events import milliseconds

STATES = ("waiting", "running", "succeeded", "skipped", "superseded", "dead", "cancelled")
# Few jobs are in one of these at a time, and each has an index of its own.
RARE_STATES = frozenset({"waiting", "running", "dead", "cancelled"})


@dataclass(frozen=True)
class EventFilter:
    """Which events.

    `event_id` is Amplience's id, `label` and `schema` are parts of these in any case of letters.
    `state` and `target` are those of one job of the event; `target` is a destination's name, or a
    hub's key for localize and unpublish. `received_from` is included, `received_to` is not.
    """

    event_id: str | None = None
    item_id: str | None = None
    label: str | None = None
    schema: str | None = None
    name: str | None = None
    hub: str | None = None
    origin: str | None = None
    state: str | None = None
    target: str | None = None
    received_from: datetime | None = None
    received_to: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether it lets everything through."""
        return all(value is None for value in astuple(self))

    @property
    def by_job(self) -> bool:
        """Whether it asks for nothing but a job's state or target: an index has just these."""
        return not self.is_open and replace(self, state=None, target=None).is_open

    @property
    def indexed(self) -> bool:
        """Whether an index leads to the events, or nothing needs to be looked for."""
        found_by_index = self.event_id or self.item_id or self.state in RARE_STATES
        return bool(found_by_index) or self.is_open or self.by_job


@dataclass(frozen=True)
class JobFilter:
    """Which jobs. `event` is the ledger's own number of an event, `target` as in `EventFilter`."""

    state: str | None = None
    action: str | None = None
    target: str | None = None
    reason: str | None = None
    rule: str | None = None
    hub: str | None = None
    event: int | None = None
    item_id: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether it lets everything through."""
        return all(value is None for value in astuple(self))

    @property
    def by_rare_state(self) -> bool:
        """Whether the index of the few jobs in its state leads to them."""
        return self.state in RARE_STATES and self.event is None and self.item_id is None

    @property
    def indexed(self) -> bool:
        """Whether an index leads to the jobs, or nothing needs to be looked for."""
        found_by_index = self.event or self.item_id or self.state in RARE_STATES
        return bool(found_by_index) or self.is_open


def event_conditions(wanted: EventFilter) -> list[ColumnElement[bool]]:
    """Write the filter as conditions on `webhook_events`."""
    table = webhook_events.c
    exact: dict[ColumnElement[Any], str | None] = {
        table.name: wanted.name,
        # Not the bare column: SQLite would take the index that begins with the hub, and read and
        # sort all of the hub's events for one page.
        table.hub + "": wanted.hub,
        table.origin: wanted.origin,
    }
    conditions: list[ColumnElement[bool]] = [
        column == value for column, value in exact.items() if value is not None
    ]
    if wanted.item_id is not None:
        conditions.append(table.id.in_(_events_of_item(wanted.item_id)))
    if wanted.event_id is not None:
        conditions.append(has_event_id(wanted.event_id))
    if wanted.label is not None:
        conditions.append(table.label.icontains(wanted.label, autoescape=True))
    if wanted.schema is not None:
        conditions.append(table.schema.icontains(wanted.schema, autoescape=True))
    if wanted.received_from is not None:
        conditions.append(table.received_at >= milliseconds(wanted.received_from))
    if wanted.received_to is not None:
        conditions.append(table.received_at < milliseconds(wanted.received_to))
    if wanted.state is not None or wanted.target is not None:
        conditions.append(_has_job(wanted))
    return conditions


def _events_of_item(item_id: str) -> CompoundSelect[tuple[int]]:
    """Find the events of an item: one query for each index that leads to some."""
    first = select(webhook_events.c.id).where(webhook_events.c.item_id == item_id)
    other = select(event_items.c.event).where(event_items.c.item_id == item_id)
    return union_all(first, other)


def has_event_id(event_id: str) -> ColumnElement[bool]:
    """Write "Amplience's id is this, in any hub" so that the index on (hub, event_id) serves.

    The hubs are found by stepping through that index, from each hub to the next.
    """
    other = webhook_events.alias("other")
    hubs = select(func.min(other.c.hub).label("hub")).cte("hubs", recursive=True)
    following = select(func.min(other.c.hub)).where(other.c.hub > hubs.c.hub).scalar_subquery()
    hubs = hubs.union_all(select(following).where(hubs.c.hub.is_not(None)))
    return and_(
        webhook_events.c.hub.in_(select(hubs.c.hub).where(hubs.c.hub.is_not(None))),
        webhook_events.c.event_id == event_id,
    )


def _has_job(wanted: EventFilter) -> ColumnElement[bool]:
    theirs: list[ColumnElement[bool]] = []
    if wanted.state is not None:
        theirs.append(has_state(jobs, wanted.state))
    if wanted.target is not None:
        theirs.append(jobs.c.target == wanted.target)
    if wanted.state in RARE_STATES:
        # From the few jobs to their events; below, from each event to its few jobs.
        return webhook_events.c.id.in_(select(jobs.c.event).where(*theirs))
    return exists().where(jobs.c.event == webhook_events.c.id, *theirs)


def has_state(table: FromClause, state: str) -> ColumnElement[bool]:
    """Write "a job is in this state" so that the indexes of jobs in that state serve."""
    # What is written into a statement is one of our own words, whoever asks.
    column: ColumnElement[str] = table.c.state
    return in_state(table, state) if state in STATES else column == state


def job_conditions(wanted: JobFilter) -> list[ColumnElement[bool]]:
    """Write the filter as conditions on `jobs`."""
    table = jobs.c
    exact = {
        table.action: wanted.action,
        table.target: wanted.target,
        table.reason: wanted.reason,
        table.rule: wanted.rule,
        table.hub: wanted.hub,
        table.event: wanted.event,
    }
    conditions: list[ColumnElement[bool]] = [
        column == value for column, value in exact.items() if value is not None
    ]
    if wanted.state is not None:
        conditions.append(has_state(jobs, wanted.state))
    if wanted.item_id is not None:
        conditions.append(table.event.in_(_events_of_item(wanted.item_id)))
        # Of an event with several items, not the jobs of the others.
        several = exists().where(event_items.c.event == table.event)
        conditions.append(or_(~several, document_text(table.args, "item_id") == wanted.item_id))
    return conditions
