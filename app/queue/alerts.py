"""Alerts for operators, found in the database.

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

from app.advice import ALERTS, of_reason, why_paused
from app.db import Storage
from app.db.tables import (
    beats,
    destination_states,
    event_conflicts,
    in_state,
    jobs,
    now_ms,
    webhook_events,
)
from app.events import WebhookEvent, storable
from app.queue.ingest import accept
from app.queue.stats import first_due
from app.rules import Plan

# Alerts are no hub's.
ALERTS_HUB = "-"
ALERT_ORIGIN = "alert"
_HOUR_MS = 3_600_000
# Heartbeats come every 2.5 s; readiness uses the same bound.
SILENT_MS = 15_000


@dataclass(frozen=True)
class Alert:
    """Something that a person must look at, or that is over again.

    `slug` is constant; `subject` says what it is about, `text` what happened, as a sentence for
    people. `once` makes the id: the same is raised again only when it changes.
    """

    slug: str
    subject: str
    once: str
    text: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def event_id(self) -> str:
        """The id under which it is written down."""
        return f"alert:{self.slug}:{self.subject}:{self.once}"[:200]

    @property
    def told(self) -> dict[str, Any]:
        """All that a destination and Sentry are told of it."""
        advice = ALERTS.get(self.slug)
        told = {
            "slug": self.slug,
            "subject": self.subject,
            "text": self.text,
            "todo": advice.todo if advice else None,
            "facts": dict(self.facts),
        }
        # Amplience's answers are quoted in it.
        return dict(storable(told))


def alert_queue(destination: str) -> str:
    """The queue of a destination's alerts.

    Not that of its content: who sends them where no worker lives must find nothing else in it, and
    an alert must not stand in line behind what it is about.
    """
    return f"alert:{destination}"


def find_alerts(storage: Storage, *, oldest_waiting_ms: int) -> list[Alert]:
    """Find the alerts that are due now; raises `StorageUnavailable`."""
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
    body = json.dumps(alert.told, ensure_ascii=False).encode()
    event = WebhookEvent(
        hub=ALERTS_HUB,
        id=alert.event_id,
        name=f"dc-relay.alert.{alert.slug}",
        # Not the facts: they grow, and the alert stays the same.
        payload={"subject": alert.subject},
        body=body,
        label=alert.subject,
        origin=ALERT_ORIGIN,
    )
    [answer] = accept(storage, [(event, [_plan(alert, name) for name in to])])
    return getattr(answer, "status", None) in ("accepted", "ignored")


def was_raised_recently(storage: Storage, alert: Alert) -> bool:
    """Tell whether this alert was written down within an hour; raises `StorageUnavailable`."""
    rows = select(webhook_events.c.id).where(
        webhook_events.c.hub == ALERTS_HUB,
        webhook_events.c.event_id == alert.event_id,
        webhook_events.c.received_at > now_ms() - _HOUR_MS,
    )
    with storage.read() as connection:
        return connection.execute(rows).first() is not None


def _plan(alert: Alert, destination: str) -> Plan:
    return Plan(
        rule="alerts",
        action="alert",
        target=destination,
        queue=alert_queue(destination),
        key=f"alert:{destination}:{alert.event_id}",
        version=0,
        args=alert.told,
    )


def _dead(connection: Connection, now: int) -> Iterator[Alert]:
    """Dead jobs of the last hour, by action, target and reason: one alert an hour for each."""
    # By the hour in which they died, not the one in which they are found: each is told once.
    hour = (jobs.c.finished_at // _HOUR_MS).label("hour")
    groups = connection.execute(
        select(jobs.c.action, jobs.c.target, jobs.c.reason, hour, func.count(), func.max(jobs.c.id))
        # An alert that cannot be sent must not raise another one.
        .where(
            in_state(jobs, "dead"), jobs.c.finished_at > now - _HOUR_MS, jobs.c.action != "alert"
        )
        .group_by(jobs.c.action, jobs.c.target, jobs.c.reason, "hour")
    )
    for action, target, reason, died, count, newest in groups:
        yield Alert(
            "job-dead",
            f"{action} {target}: {reason}",
            once=str(died),
            text=f"{_jobs(count)} of {action} for {target} failed for good: {reason}."
            f"{_meaning(reason)}",
            facts={"jobs": count, "newest": newest},
        )


def _destinations(connection: Connection) -> Iterator[Alert]:
    for row in connection.execute(select(destination_states)):
        if row.paused_at is not None:
            text = f"{row.name} is paused ({why_paused(row.paused_reason)}): it is sent nothing."
            facts = {"reason": row.paused_reason}
            yield Alert("destination-paused", row.name, str(row.paused_at), text, facts)
        if row.breaker != "closed" and row.opened_at is not None:
            text = f"{row.name} failed {row.failures} times in a row and is left in peace."
            facts = {"failures": row.failures}
            yield Alert("destination-opened", row.name, str(row.opened_at), text, facts)
        elif row.closed_at is not None:
            text = f"{row.name} takes messages again."
            yield Alert("destination-closed", row.name, str(row.closed_at), text)


def _waiting(connection: Connection, now: int, limit_ms: int) -> Iterator[Alert]:
    """Queues whose oldest due job waits for too long, with no exclusions."""
    for queue, oldest in first_due(connection).items():
        if oldest >= now - limit_ms:
            continue
        seconds = round((now - oldest) / 1000)
        place = queue.replace(":", " for ")
        text = f"Jobs of {place} could have run for {_span(seconds)}, and did not."
        # Told once more for each hour that it is late.
        once = f"{oldest // _HOUR_MS}:{(now - oldest) // _HOUR_MS}"
        yield Alert("oldest-waiting", queue, once, text, {"seconds": seconds})


def _conflicts(connection: Connection, now: int) -> Iterator[Alert]:
    rows = connection.execute(
        select(event_conflicts).where(event_conflicts.c.last_at > now - _HOUR_MS).limit(20)
    )
    for row in rows:
        text = f"Event {row.event_id} of hub {row.hub} came again with another payload; refused."
        subject = f"{row.hub} {row.event_id}"
        yield Alert("id-conflict", subject, row.fingerprint[:16], text, {"times": row.times})


def _silence(connection: Connection, now: int) -> Iterator[Alert]:
    newest = connection.execute(select(func.max(beats.c.beat_at))).scalar()
    if newest is not None and now - newest > SILENT_MS:
        seconds = round((now - newest) / 1000)
        text = f"No worker has given a sign of life for {_span(seconds)}, so nothing is done."
        yield Alert("no-live-worker", "all workers", str(newest), text, {"seconds": seconds})
    elif newest is None and _waits_for_a_worker(connection, now):
        text = "Jobs wait, and no worker was ever started."
        yield Alert("no-live-worker", "all workers", "never", text)


def _waits_for_a_worker(connection: Connection, now: int) -> bool:
    oldest = select(func.min(jobs.c.run_at)).where(jobs.c.state == "waiting")
    due = connection.execute(oldest).scalar()
    return due is not None and now - due > SILENT_MS


def _span(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count:,} jobs"


def _meaning(reason: str | None) -> str:
    advice = of_reason(reason)
    return f" It means: {advice.meaning}." if advice else ""
