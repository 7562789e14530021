"""Events, jobs and attempts as an operator sees them: the values, and how rows become them.

This module must not know what is asked for; the questions are in `searching`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping

from app.events import instant
from app.observability import tracing
from app.storage.tables import attempts, jobs, webhook_events


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
    received_at: datetime
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
    lane: str
    key: str
    state: str
    reason: str | None
    message: str | None
    attempts: int
    failures: int
    losses: int
    run_at: datetime
    created_at: datetime
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
    finished_at: datetime


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
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True)
class EventStory:
    """One event's whole story. `body` is the raw body as it was received."""

    event: EventRow
    jobs: tuple[JobStory, ...]
    conflicts: tuple[Conflict, ...]
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class StoredEvent:
    """What a replay starts from."""

    id: int
    hub: str
    received_at: datetime
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
        id=row[event.id],
        hub=row[event.hub],
        event_id=row[event.event_id],
        name=row[event.name],
        item_id=row[event.item_id],
        snapshot_id=row[event.snapshot_id],
        snapshot_created=_moment(row[event.snapshot_created]),
        schema=row[event.schema],
        label=row[event.label],
        locale=row[event.locale],
        request_id=row[event.request_id],
        origin=row[event.origin],
        received_at=instant(row[event.received_at]),
        states=states,
        trace_id=_trace_id(row[event.trace]),
    )


def job_row(row: RowMapping) -> JobRow:
    """One job with the columns of `event_of_a_job`."""
    job, event = jobs.c, webhook_events.c
    return JobRow(
        id=row[job.id],
        event=row[job.event],
        event_id=row[event.event_id],
        event_name=row[event.name],
        item_id=row[event.item_id],
        label=row[event.label],
        hub=row[job.hub],
        rule=row[job.rule],
        action=row[job.action],
        target=row[job.target],
        lane=row[job.lane],
        key=row[job.key],
        state=row[job.state],
        reason=row[job.reason],
        message=row[job.message],
        attempts=row[job.attempts],
        failures=row[job.failures],
        losses=row[job.losses],
        run_at=instant(row[job.run_at]),
        created_at=instant(row[job.created_at]),
        started_at=_moment(row[job.started_at]),
        finished_at=_moment(row[job.finished_at]),
        owner=row[job.owner],
        lease_until=_moment(row[job.lease_until]),
        superseded_by=row[job.superseded_by],
        replay_of=row[job.replay_of],
        args=row[job.args] or {},
        progress=row[job.progress] or {},
    )


def attempt_row(row: RowMapping) -> AttemptRow:
    """One attempt."""
    attempt = attempts.c
    return AttemptRow(
        id=row[attempt.id],
        job=row[attempt.job],
        number=row[attempt.number],
        owner=row[attempt.owner],
        outcome=row[attempt.outcome],
        reason=row[attempt.reason],
        message=row[attempt.message],
        detail=row[attempt.detail] or {},
        started_at=_moment(row[attempt.started_at]),
        finished_at=instant(row[attempt.finished_at]),
    )


def _trace_id(kept: str | None) -> str | None:
    place = tracing.read_kept(kept)
    return tracing.trace_id(place) if place else None


def _moment(milliseconds_or_none: int | None) -> datetime | None:
    return None if milliseconds_or_none is None else instant(milliseconds_or_none)
