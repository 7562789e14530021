"""What an operator should be told without asking, found in the ledger itself.

Looked for from outside the thing that broke: every worker and every web process looks, and who
finds something first writes it down as an event of its own, whose id says what it is about. A
second finder finds that id known, so each alert is raised once over all processes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, func, select

from app.events import WebhookEvent
from app.ledger.accepting import accept
from app.ledger.queues import first_due
from app.rules import Plan
from app.storage import Storage
from app.storage.tables import beats, destination_states, event_conflicts, in_state, jobs, now_ms

# Alerts are no hub's.
ALERTS_HUB = "-"
_HOUR_MS = 3_600_000
# A worker beats every 2.5 s; readiness uses the same bound.
_SILENT_MS = 15_000


@dataclass(frozen=True)
class Alert:
    """Something that a person must look at, or that is over again.

    `slug` is constant; `subject` says what it is about. `once` makes the id: the same is raised
    again only when it changes.
    """

    slug: str
    subject: str
    once: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def event_id(self) -> str:
        """The id under which it is written down."""
        return f"alert:{self.slug}:{self.subject}:{self.once}"[:200]


def look(storage: Storage, *, oldest_waiting_ms: int) -> list[Alert]:
    """Find what there is to tell now; raises `StorageUnavailable`."""
    with storage.read() as connection:
        now = connection.execute(select(now_ms())).scalar_one()
        return [
            *_dead(connection, now),
            *_destinations(connection),
            *_waiting(connection, now, oldest_waiting_ms),
            *_conflicts(connection, now),
            *_silence(connection, now),
        ]


def raise_alert(storage: Storage, alert: Alert, *, to: Sequence[str]) -> bool:
    """Write an alert down, with a job for each destination in `to`; False when it was known."""
    body = json.dumps(
        {"slug": alert.slug, "subject": alert.subject, **alert.facts}, sort_keys=True
    ).encode()
    event = WebhookEvent(
        hub=ALERTS_HUB,
        id=alert.event_id,
        name=f"dc-relay.alert.{alert.slug}",
        # Not the facts: they grow, and the alert stays the same.
        payload={"subject": alert.subject},
        body=body,
        label=alert.subject,
        origin="alert",
    )
    [answer] = accept(storage, [(event, [_plan(alert, name) for name in to])])
    return getattr(answer, "status", None) in ("accepted", "ignored")


def _plan(alert: Alert, destination: str) -> Plan:
    return Plan(
        rule="alerts",
        action="alert",
        target=destination,
        lane=f"forward:{destination}",
        key=f"alert:{destination}:{alert.event_id}",
        version=0,
        args={"slug": alert.slug, "subject": alert.subject, "facts": dict(alert.facts)},
    )


def _dead(connection: Connection, now: int) -> Iterator[Alert]:
    """Dead jobs of the last hour, by action, target and reason: one alert an hour for each."""
    groups = connection.execute(
        select(jobs.c.action, jobs.c.target, jobs.c.reason, func.count(), func.max(jobs.c.id))
        # An alert that cannot be sent must not raise another one.
        .where(
            in_state(jobs, "dead"), jobs.c.finished_at > now - _HOUR_MS, jobs.c.action != "alert"
        )
        .group_by(jobs.c.action, jobs.c.target, jobs.c.reason)
    )
    for action, target, reason, count, newest in groups:
        yield Alert(
            "job-dead",
            f"{action} {target}: {reason}",
            once=str(now // _HOUR_MS),
            facts={"jobs": count, "newest": newest},
        )


def _destinations(connection: Connection) -> Iterator[Alert]:
    for row in connection.execute(select(destination_states)):
        if row.paused_at is not None:
            facts = {"reason": row.paused_reason}
            yield Alert("destination-paused", row.name, once=str(row.paused_at), facts=facts)
        if row.breaker != "closed" and row.opened_at is not None:
            yield Alert("destination-opened", row.name, once=str(row.opened_at))
        elif row.closed_at is not None:
            yield Alert("destination-closed", row.name, once=str(row.closed_at))


def _waiting(connection: Connection, now: int, limit_ms: int) -> Iterator[Alert]:
    """Lanes whose oldest due job waits for too long, with no exclusions."""
    for lane, oldest in first_due(connection).items():
        if oldest < now - limit_ms:
            facts = {"seconds": round((now - oldest) / 1000)}
            yield Alert("oldest-waiting", lane, once=str(now // _HOUR_MS), facts=facts)


def _conflicts(connection: Connection, now: int) -> Iterator[Alert]:
    rows = connection.execute(
        select(event_conflicts).where(event_conflicts.c.last_at > now - _HOUR_MS).limit(20)
    )
    for row in rows:
        yield Alert("id-conflict", f"{row.hub} {row.event_id}", once=row.fingerprint[:16])


def _silence(connection: Connection, now: int) -> Iterator[Alert]:
    newest = connection.execute(select(func.max(beats.c.beat_at))).scalar()
    if newest is not None and now - newest > _SILENT_MS:
        facts = {"seconds": round((now - newest) / 1000)}
        yield Alert("no-live-worker", "all workers", once=str(newest), facts=facts)
