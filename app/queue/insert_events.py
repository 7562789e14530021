"""Insert a batch of events, with the jobs of those that are new.

On PostgreSQL that is one statement, because each is a round trip after which a busy process waits
for its turn; SQLite has no round trips.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, func, insert, literal_column, select

from app.db.driver import Constant, run
from app.db.json_rows import among, clock, insert_rows, kinds, listed
from app.db.tables import event_items, in_state, jobs, webhook_events
from app.events import WebhookEvent, milliseconds
from app.rules import Plan

JOBS_CHANNEL = "dc_relay_jobs"

Batch = Sequence[tuple[WebhookEvent, Sequence[Plan]]]
_Row = dict[str, Any]

_OF_EVENTS = (
    *("hub", "event_id", "name", "fingerprint", "item_id", "snapshot_id", "snapshot_created"),
    *("schema", "label", "locale", "request_id", "origin", "trace"),
)
_OF_JOBS = ("hub", "rule", "action", "target", "lane", "key", "args", "state")

_NO_DATE = datetime.max.replace(tzinfo=UTC)
_CLOCK = f"SELECT {clock('sqlite')}"
_CONTENDED = Constant(
    select(jobs.c.key)
    # Both states, because that is what the index by key has: with one of them, PostgreSQL may
    # choose the index by time, and read all that waits.
    .where(among(jobs.c.key, "keys"), in_state(jobs, "waiting", "running"))
    .group_by(jobs.c.key)
    .having(func.count().filter(in_state(jobs, "waiting")) > literal_column("1"))
)

# Events in one order for all processes, because two that insert the same ids in two orders would
# deadlock; then the jobs of those that are new, then what the caller wants to know of both. The
# keys are looked up one by one and in the index that has them, whatever the planner believes of a
# table that has just filled.
_ARRIVE = f"""
WITH clock AS MATERIALIZED (SELECT {clock("postgresql")} AS now),
new AS (
  INSERT INTO webhook_events ({listed(_OF_EVENTS)}, received_at, body)
  SELECT {listed(_OF_EVENTS, "given")}, clock.now, given.body
  FROM clock, ROWS FROM (
      json_to_recordset(%s::json) AS ({kinds(webhook_events, _OF_EVENTS)}), unnest(%b::bytea[])
    ) WITH ORDINALITY AS given({listed(_OF_EVENTS)}, body, place)
  ORDER BY given.hub, given.event_id
  ON CONFLICT DO NOTHING RETURNING id, hub, event_id
),
others AS (
  INSERT INTO event_items (event, item_id)
  SELECT new.id, other.item_id
  FROM json_to_recordset(%s::json) AS other(hub text, event_id text, item_id text)
  JOIN new ON new.hub = other.hub AND new.event_id = other.event_id
),
made AS (
  INSERT INTO jobs (event, {listed(_OF_JOBS)}, version, run_at, created_at)
  SELECT new.id, {listed(_OF_JOBS, "wanted")}, coalesce(nullif(wanted.version, 0), clock.now),
    clock.now + wanted.delay, clock.now
  FROM clock, json_to_recordset(%s::json)
    AS wanted({kinds(jobs, (*_OF_JOBS, "version"))}, event_id text, place integer, delay bigint)
  JOIN new ON new.hub = wanted.hub AND new.event_id = wanted.event_id
  ORDER BY wanted.place
  RETURNING id, key
)
SELECT clock.now,
  (SELECT coalesce(json_agg(json_build_array(id, hub, event_id)), '[]') FROM new) AS events,
  (SELECT coalesce(json_agg(json_build_array(id, key) ORDER BY id), '[]') FROM made) AS jobs,
  ARRAY(SELECT made.key FROM made CROSS JOIN LATERAL (
    SELECT FROM (
      SELECT state FROM jobs WHERE jobs.key = made.key AND state IN ('waiting', 'running') OFFSET 0
    ) AS active
    WHERE state = 'waiting' LIMIT 1
  ) AS waits) AS waited_for,
  (SELECT pg_notify('{JOBS_CHANNEL}', '') WHERE EXISTS (SELECT FROM made))
FROM clock
"""  # noqa: S608 - our own names


@dataclass(frozen=True)
class Written:
    """The written rows, and the time by the database's clock.

    `events` has the id of each, in order, or None for one that is known; `jobs` the ids of the jobs
    of those that are new; `contended` the keys for which other jobs wait besides.
    """

    now: int
    events: list[int | None]
    jobs: list[int]
    contended: set[str]


def insert_batch(connection: Connection, batch: Batch) -> Written:
    """Insert the new events of the batch; PostgreSQL notifies the workers at the commit."""
    if connection.dialect.name == "sqlite":
        return _write_sqlite(connection, batch)
    return _write_postgresql(connection, batch)


def contended_keys(connection: Connection, plans: Sequence[Plan]) -> set[str]:
    """Return the keys of the plans that have more than one waiting job."""
    keys = list({plan.key for plan in plans})
    return {key for (key,) in _CONTENDED.run(connection, keys=keys)}


def job_row(plan: Plan, *, hub: str, event_row: int, now: int) -> _Row:
    """A new job as a row."""
    row = _job_row(plan, hub)
    delay = row.pop("delay")
    # It is as new as its arrival, unless the plan says otherwise.
    row["version"] = row["version"] or now
    return {**row, "event": event_row, "run_at": now + delay, "created_at": now}


def _write_sqlite(connection: Connection, batch: Batch) -> Written:
    ((now,),) = run(connection, _CLOCK)
    rows = [{**_event_row(event), "received_at": now, "body": event.body} for event, _ in batch]
    # The unique index says which are new: a look before would miss what another process writes at
    # the same moment.
    events = insert_rows(connection, webhook_events, rows, unless_known=("hub", "event_id"))
    others = [
        {"event": row_id, "item_id": item.id}
        for (event, _), row_id in zip(batch, events, strict=True)
        if row_id is not None
        for item in event.items[1:]
    ]
    if others:
        connection.execute(insert(event_items), others)
    wanted = [
        (plan, job_row(plan, hub=batch[place][0].hub, event_row=row_id, now=now))
        for place in _oldest_first(batch)
        if (row_id := events[place]) is not None
        for plan in batch[place][1]
    ]
    written = insert_rows(connection, jobs, [row for _, row in wanted])
    contended = contended_keys(connection, [plan for plan, _ in wanted])
    return Written(now, events, [each for each in written if each is not None], contended)


def _write_postgresql(connection: Connection, batch: Batch) -> Written:
    # The second of two with one id in a group is as known as if the first were written already.
    first: dict[tuple[str, str], int] = {}
    for place, (event, _) in enumerate(batch):
        first.setdefault((event.hub, event.id), place)
    new_places = set(first.values())
    asked = [
        (batch[place][0], plan)
        for place in _oldest_first(batch)
        if place in new_places
        for plan in batch[place][1]
    ]
    wanted = [
        {**_job_row(plan, event.hub), "event_id": event.id, "place": place}
        for place, (event, plan) in enumerate(asked)
    ]
    parameters = (
        json.dumps([_event_row(event) for event, _ in batch]),
        [event.body for event, _ in batch],
        json.dumps(_other_items([batch[place][0] for place in first.values()])),
        json.dumps(wanted),
    )
    ((now, arrived, made, waited_for, _),) = run(connection, _ARRIVE, parameters)
    new = {(hub, event_id): row_id for row_id, hub, event_id in arrived}
    events = [
        new.get((event.hub, event.id)) if first[event.hub, event.id] == place else None
        for place, (event, _) in enumerate(batch)
    ]
    keys = Counter(key for _, key in made)
    # A statement does not see what it writes.
    contended = {key for key, count in keys.items() if count > 1} | set(waited_for)
    return Written(now, events, [row_id for row_id, _ in made], contended)


def _oldest_first(batch: Batch) -> list[int]:
    """The places of the batch, in the order in which their jobs get their ids.

    The events of a batch arrive at the same moment, so here the date of the change decides which
    is newer; one without a date counts as the newest.
    """

    def changed(place: int) -> datetime:
        event, _ = batch[place]
        return event.snapshot_created or event.last_modified or _NO_DATE

    return sorted(range(len(batch)), key=changed)


def _other_items(events: Sequence[WebhookEvent]) -> list[_Row]:
    return [
        {"hub": event.hub, "event_id": event.id, "item_id": item.id}
        for event in events
        for item in event.items[1:]
    ]


def _event_row(event: WebhookEvent) -> _Row:
    created = event.snapshot_created
    return {
        "hub": event.hub,
        "event_id": event.id,
        "name": event.name,
        # Of a webhook the bytes alone: its fingerprint takes longer, and is only needed when the id
        # comes back. An event that we make has no payload in its body.
        "fingerprint": event.digest if event.origin == "webhook" else event.fingerprint,
        "item_id": event.item_id,
        "snapshot_id": event.snapshot_id,
        "snapshot_created": milliseconds(created) if created else None,
        "schema": event.schema,
        "label": event.label,
        "locale": event.locale,
        "request_id": event.request_id,
        "origin": event.origin,
        "trace": event.trace,
    }


def _job_row(plan: Plan, hub: str) -> _Row:
    return {
        "hub": hub,
        "rule": plan.rule,
        "action": plan.action,
        "target": plan.target,
        "lane": plan.queue,
        "key": plan.key,
        "version": plan.version,
        "args": dict(plan.args),
        "state": "waiting",
        "delay": round(plan.delay * 1000),
    }
