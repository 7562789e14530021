"""Events, jobs and attempts as an operator sees them: the values, and how rows become them.

No stored value breaks a list: what does not fit its column (SQLite keeps what it is given), or is
no moment, is None here and shown as unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, RowMapping, String

from app.db.driver import read_text
from app.db.tables import attempts, jobs, webhook_events
from app.events import known_instant
from app.observability import tracing
from app.rules import item_of


@dataclass(frozen=True)
class EventRow:
    """One event in a list; `states` counts its jobs by state, and is empty for an ignored one."""

    id: int
    hub: str
    event_id: str
    name: str
    item_id: str | None
    snapshot_id: str | None
    snapshot_created: datetime | None
    schema: str | None
    label: str | None
    locale: str | None
    request_id: str | None
    origin: str
    received_at: datetime | None
    states: Mapping[str, int]
    trace_id: str | None = None


@dataclass(frozen=True)
class JobRow:
    """One job, with what of its event helps to recognize it.

    `run_at` means something for a waiting job only, `lease_until` and `owner` for a running one.
    """

    id: int
    event: int
    event_id: str
    event_name: str
    item_id: str | None
    label: str | None
    hub: str
    rule: str
    action: str
    target: str
    queue: str
    key: str
    state: str
    reason: str | None
    message: str | None
    attempts: int
    failures: int
    losses: int
    run_at: datetime | None
    created_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    owner: str | None
    lease_until: datetime | None
    superseded_by: int | None
    replay_of: int | None
    args: Mapping[str, Any]
    progress: Mapping[str, Any]


@dataclass(frozen=True)
class AttemptRow:
    """One ended attempt: `number` counts from 1 within its job, `detail` is what the action kept.

    An attempt that still runs is seen in its job.
    """

    id: int
    job: int
    number: int
    owner: str | None
    outcome: str
    reason: str | None
    message: str | None
    detail: Mapping[str, Any]
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True)
class JobStory:
    """One job with its attempts, oldest first.

    `message_bytes` is the size of what it sends, while that is kept; it is removed with success.
    """

    job: JobRow
    attempts: tuple[AttemptRow, ...]
    message_bytes: int | None = None


@dataclass(frozen=True)
class Conflict:
    """Another payload that came with the id of a known event, and how often."""

    fingerprint: str
    times: int
    first_at: datetime | None
    last_at: datetime | None


@dataclass(frozen=True)
class EventStory:
    """One event's whole story. `body` is the raw body as it was received.

    `items` are the ids of all items that it is about.
    """

    event: EventRow
    items: tuple[str, ...]
    jobs: tuple[JobStory, ...]
    conflicts: tuple[Conflict, ...]
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class StoredEvent:
    """What a replay starts from."""

    id: int
    hub: str
    received_at: datetime | None
    body: bytes = field(repr=False)


def event_columns() -> list[Any]:
    """All but the body, which may be large."""
    return [column for column in webhook_events.c if column.name not in ("body", "fingerprint")]


def event_of_a_job() -> list[Any]:
    """What of its event helps to recognize a job."""
    event = webhook_events.c
    return [event.event_id, event.name, event.item_id, event.label]


def event_row(row: RowMapping, states: Mapping[str, int]) -> EventRow:
    """One event of `event_columns`."""
    event = webhook_events.c
    return EventRow(
        id=_known(row, event.id),
        hub=_known(row, event.hub),
        event_id=_known(row, event.event_id),
        name=_known(row, event.name),
        item_id=_known(row, event.item_id),
        snapshot_id=_known(row, event.snapshot_id),
        snapshot_created=known_instant(row[event.snapshot_created]),
        schema=_known(row, event.schema),
        label=_known(row, event.label),
        locale=_known(row, event.locale),
        request_id=_known(row, event.request_id),
        origin=_known(row, event.origin),
        received_at=known_instant(row[event.received_at]),
        states=states,
        trace_id=_trace_id(_known(row, event.trace)),
    )


def job_row(row: RowMapping) -> JobRow:
    """One job with the columns of `event_of_a_job`."""
    job, event = jobs.c, webhook_events.c
    args = _known(row, job.args) or {}
    item = item_of(args)
    return JobRow(
        id=_known(row, job.id),
        event=_known(row, job.event),
        event_id=_known(row, event.event_id),
        event_name=_known(row, event.name),
        item_id=item.get("item_id", _known(row, event.item_id)),
        label=item.get("label", _known(row, event.label)),
        hub=_known(row, job.hub),
        rule=_known(row, job.rule),
        action=_known(row, job.action),
        target=_known(row, job.target),
        queue=_known(row, job.lane),
        key=_known(row, job.key),
        state=_known(row, job.state),
        reason=_known(row, job.reason),
        message=_known(row, job.message),
        attempts=_known(row, job.attempts),
        failures=_known(row, job.failures),
        losses=_known(row, job.losses),
        run_at=known_instant(row[job.run_at]),
        created_at=known_instant(row[job.created_at]),
        started_at=known_instant(row[job.started_at]),
        finished_at=known_instant(row[job.finished_at]),
        owner=_known(row, job.owner),
        lease_until=known_instant(row[job.lease_until]),
        superseded_by=_known(row, job.superseded_by),
        replay_of=_known(row, job.replay_of),
        args=args,
        progress=_known(row, job.progress) or {},
    )


def attempt_row(row: RowMapping) -> AttemptRow:
    """One attempt."""
    attempt = attempts.c
    return AttemptRow(
        id=_known(row, attempt.id),
        job=_known(row, attempt.job),
        number=_known(row, attempt.number),
        owner=_known(row, attempt.owner),
        outcome=_known(row, attempt.outcome),
        reason=_known(row, attempt.reason),
        message=_known(row, attempt.message),
        detail=_known(row, attempt.detail) or {},
        started_at=known_instant(row[attempt.started_at]),
        finished_at=known_instant(row[attempt.finished_at]),
    )


def _trace_id(kept: str | None) -> str | None:
    place = tracing.read_kept(kept)
    return tracing.trace_id(place) if place else None


def _known(row: RowMapping, column: Column[Any]) -> Any:
    value = row[column]
    if isinstance(column.type, String) and not column.nullable:
        return read_text(value)
    # SQLAlchemy names no type for what JSON holds; our documents are objects.
    kind = dict if isinstance(column.type, JSON) else column.type.python_type
    return value if isinstance(value, kind) else None
