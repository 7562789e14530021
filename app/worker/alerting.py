"""Finds what a person should know, and tells it: to Sentry, and to the destinations of `[alerts]`.

Workers and web processes both do it, so that it is found out from outside the thing that broke.
Alerts are sent as jobs by the workers; where none lives, the web sends them itself, because the
news that no worker lives must not wait for one.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from threading import Lock

import structlog

from app.config import Settings
from app.db import Storage
from app.errors import StorageUnavailable
from app.observability import report
from app.queue import Job, Limits, claim, readiness
from app.queue.alerts import (
    SILENT_MS,
    Alert,
    alert_queue,
    find_alerts,
    raise_alert,
    was_raised_recently,
)
from app.worker.running import Runner

# A dead job and a destination's breaker are reported by the worker that sees them.
_NOT_REPORTED_YET = frozenset(
    {"oldest-waiting", "id-conflict", "no-live-worker", "signatures-refused", "amplience-refusing"}
)
_HOUR = 3600.0
# Of somebody who guesses, within this time.
_MANY, _MANY_WITHIN = 20, 600.0
# Of a secret that was changed on one side only: so many wrong ones and no right one.
_WRONG, _WRONG_WITHIN = 3, 3600.0
_RIGHT = ("accepted", "ignored", "duplicate")

_log = structlog.get_logger(__name__)


def watch(settings: Settings, storage: Storage) -> None:
    """Look for what an operator should know, and tell it once over all processes."""
    limit = round(settings.alerts.oldest_waiting * 1000)
    for alert in find_alerts(storage, oldest_waiting_ms=limit):
        tell(settings, storage, alert)


def tell(settings: Settings, storage: Storage, alert: Alert) -> None:
    """Raise one alert; Sentry is told as well, unless what happened was reported there already."""
    if not raise_alert(storage, alert, to=settings.alerts.to):
        return
    _log.warning("alert.raised", slug=alert.slug, subject=alert.subject)
    if alert.slug in _NOT_REPORTED_YET:
        report(f"alert: {alert.slug}", **alert.told)


def alert_limits(settings: Settings) -> dict[str, Limits]:
    """The queues of alerts, with their destinations' limits."""
    places = [settings.destination(name) for name in settings.alerts.to]
    return {
        alert_queue(place.name): Limits(place.name, place.rate, place.concurrency)
        for place in places
        if place is not None
    }


def send_alerts_alone(storage: Storage, runner: Runner, limits: Mapping[str, Limits]) -> int:
    """Send the alerts that are due if no worker lives to do it; returns how many were tried.

    Their leases are not renewed. A worker that starts meanwhile may send one again, under the same
    `webhook-id`.
    """
    age = readiness(storage).worker_beat_age
    if age is not None and age * 1000 <= SILENT_MS:
        return 0
    owner = f"{socket.gethostname()}.{os.getpid()}.web"
    tried = 0
    while claimed := claim(storage, owner=owner, wanted=dict.fromkeys(limits, 1), limits=limits):
        for job in claimed:
            runner.run(job)
        tried += len(claimed)
    return tried


class RefusalAlarm:
    """Raises `amplience-refusing` at the first refused attempt of a hub; again after an hour.

    Not looked for in the ledger: a window of a few seconds is over before the next look, and a
    person should know of a wrong key at once. `clock` gives seconds since 1970.
    """

    def __init__(
        self, settings: Settings, storage: Storage, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._storage = storage
        self._clock = clock
        self._lock = Lock()
        self._told: dict[str, float] = {}

    def __call__(self, job: Job, message: str) -> None:
        """Tell of one refused attempt, unless it was told of its hub within the last hour."""
        now = self._clock()
        with self._lock:
            if now < self._told.get(job.hub, 0.0) + _HOUR:
                return
            self._told[job.hub] = now
        try:
            self._tell(_refusing(job, message, now), now)
        except StorageUnavailable as error:
            _log.warning("watch.storage-unavailable", detail=str(error))
            with self._lock:
                del self._told[job.hub]

    def _tell(self, alert: Alert, now: float) -> None:
        # Another process may have told it just before the hour was full.
        before = replace(alert, once=_hour(now - _HOUR))
        if not was_raised_recently(self._storage, before):
            tell(self._settings, self._storage, alert)


def _refusing(job: Job, message: str, now: float) -> Alert:
    text = (
        f"Amplience refuses calls for hub {job.hub}. Jobs are retried for an hour, then they are"
        f" dead. Its answer: {message.rstrip('.')}."
    )
    facts = {"hub": job.hub, "action": job.action, "job": job.id}
    return Alert("amplience-refusing", job.hub, _hour(now), text, facts)


def _hour(at: float) -> str:
    return str(int(at // _HOUR))


@dataclass(frozen=True)
class _Look:
    at: float
    refused: float
    wrong: float
    right: float


@dataclass
class SignatureWatch:
    """Judges from the door's counters whether signatures fail more than by chance.

    They are those of all web processes of this machine, and count from its start.
    """

    _looks: deque[_Look] = field(default_factory=deque)

    def judge(self, outcomes: Mapping[str, float], *, now: float) -> Alert | None:
        """Compare with what was counted before; `now` in seconds since 1970."""
        latest = _Look(
            now,
            refused=sum(n for slug, n in outcomes.items() if slug.startswith("signature-")),
            wrong=outcomes.get("signature-mismatch", 0),
            right=sum(outcomes.get(slug, 0) for slug in _RIGHT),
        )
        self._looks.append(latest)
        while now - self._looks[0].at > _WRONG_WITHIN:
            self._looks.popleft()
        many = next(look for look in self._looks if now - look.at <= _MANY_WITHIN)
        if (refused := latest.refused - many.refused) >= _MANY:
            text = f"{refused:.0f} webhooks within 10 minutes had no right signature."
            return _refused(now, text, refused)
        first = self._looks[0]
        wrong = latest.wrong - first.wrong
        if wrong >= _WRONG and latest.right == first.right:
            text = (
                f"{wrong:.0f} webhooks within an hour had a wrong signature, and none a right one."
            )
            return _refused(now, text, wrong)
        return None


def _refused(now: float, text: str, count: float) -> Alert:
    return Alert("signatures-refused", "webhooks", _hour(now), text, {"refused": round(count)})
