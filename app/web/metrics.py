"""`GET /metrics` for Prometheus: how the work goes by the ledger, and the door's own counters.

What concerns jobs is read from the database at each scrape, so it is the same from every process
and survives all of them; a worker needs no port. What only the door sees is counted by its
processes, together on one machine. This module must not change anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.db import Storage
from app.errors import StorageUnavailable
from app.observability.metrics import door_counters
from app.queue.history import BOUNDS, Durations, Recent, done_lately, recent
from app.queue.limits import DestinationState, read_destination_states
from app.queue.stats import Overview, overview
from app.web.auth import AdminGate, refusal
from app.web.services import OperatorServices

NAME = "metrics"


def build(services: OperatorServices, gate: AdminGate) -> Blueprint:
    """The blueprint of `GET /metrics`: with the admin token, or open where the settings say so."""
    blueprint = Blueprint(NAME, __name__)

    @blueprint.before_request
    def guard() -> Response | None:
        return None if services.settings.metrics_open else refusal(gate)

    @blueprint.get("/metrics")
    def scrape() -> Response:
        ledger = CollectorRegistry()
        names = [place.name for place in services.settings.destinations]
        ledger.register(LedgerCollector(services.storage, names))
        text = generate_latest(ledger) + generate_latest(door_counters())
        return Response(text, content_type=CONTENT_TYPE_PLAIN_0_0_4)

    return blueprint


class LedgerCollector(Collector):
    """Reads the ledger at each scrape. Without the database it says so and nothing else.

    `destinations` are told of also while nothing is wrong with them.
    """

    def __init__(self, storage: Storage, destinations: Sequence[str]) -> None:
        self._storage = storage
        self._names = destinations

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not read the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read, then tell."""
        try:
            found, latest = overview(self._storage), recent(self._storage)
            done = done_lately(self._storage, last_ms=60_000)
            states = read_destination_states(self._storage)
        except StorageUnavailable:
            yield _gauge("dc_relay_database_up", "Whether the database answered.", 0)
            return
        yield _gauge("dc_relay_database_up", "Whether the database answered.", 1)
        yield from _queues(found)
        yield from _dead(found)
        yield from _workers(found)
        yield from _destinations({name: DestinationState() for name in self._names} | states)
        yield _quotas(found)
        yield from _recent(latest)
        yield from _done(done)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _queues(found: Overview) -> Iterator[Metric]:
    labels = ["action", "target"]
    jobs = GaugeMetricFamily(
        "dc_relay_queue_jobs", "Jobs that are not done.", labels=[*labels, "state"]
    )
    oldest = GaugeMetricFamily(
        "dc_relay_queue_oldest_seconds",
        "Age of the oldest job that is not done, whatever it waits for. 0 without one.",
        labels=labels,
    )
    due = GaugeMetricFamily(
        "dc_relay_queue_due_seconds",
        "How long the first waiting job could have run already. 0 when none is due.",
        labels=labels,
    )
    for queue in found.queues:
        place = [queue.action, queue.target]
        jobs.add_metric([*place, "waiting"], queue.waiting)
        jobs.add_metric([*place, "running"], queue.running)
        oldest.add_metric(place, queue.oldest_age or 0)
        due.add_metric(place, queue.due_age or 0)
    yield from (jobs, oldest, due)
    yield _gauge(
        "dc_relay_oldest_seconds",
        "Age of the oldest job of all that are not done, with no exclusions. 0 without one.",
        found.oldest_age or 0,
    )


def _dead(found: Overview) -> Iterator[Metric]:
    dead = GaugeMetricFamily(
        "dc_relay_dead_jobs",
        "Jobs that were given up and wait for a person.",
        labels=["action", "target", "reason"],
    )
    for group in found.dead_groups:
        dead.add_metric([group.action, group.target, group.reason or ""], group.jobs)
    yield dead


def _workers(found: Overview) -> Iterator[Metric]:
    yield _gauge("dc_relay_workers", "Workers that gave a sign of life lately.", found.workers)
    if found.beat_age is not None:
        yield _gauge(
            "dc_relay_worker_beat_age_seconds",
            "Time since the last sign of life of any worker.",
            found.beat_age,
        )


def _destinations(states: Mapping[str, DestinationState]) -> Iterator[Metric]:
    held = GaugeMetricFamily(
        "dc_relay_destination_held",
        "1 for a destination that is sent nothing: paused, or its breaker is not closed.",
        labels=["destination", "why"],
    )
    breaker = GaugeMetricFamily(
        "dc_relay_destination_breaker",
        "1 for the state that a destination's breaker is in.",
        labels=["destination", "state"],
    )
    for name, found in sorted(states.items()):
        held.add_metric([name, "paused"], found.paused)
        held.add_metric([name, "breaker"], found.breaker != "closed")
        for state in ("closed", "open", "half-open"):
            breaker.add_metric([name, state], found.breaker == state)
    yield from (held, breaker)


def _quotas(found: Overview) -> Metric:
    quota = GaugeMetricFamily(
        "dc_relay_quota_used", "Uses of a quota in its current window.", labels=["quota"]
    )
    for use in found.quotas:
        quota.add_metric([use.quota], use.used)
    return quota


def _recent(found: Recent) -> Iterator[Metric]:
    labels = ["action", "outcome"]
    count = GaugeMetricFamily(
        "dc_relay_last_minute_attempts", "Attempts that ended in the last minute.", labels=labels
    )
    longest = GaugeMetricFamily(
        "dc_relay_last_minute_attempt_seconds_max",
        "The longest of these attempts.",
        labels=labels,
    )
    total = GaugeMetricFamily(
        "dc_relay_last_minute_attempt_seconds_sum", "All of them together.", labels=labels
    )
    for row in found.attempts:
        kind = [row.action, row.outcome]
        count.add_metric(kind, row.count)
        longest.add_metric(kind, row.longest)
        total.add_metric(kind, row.total)
    ended = GaugeMetricFamily(
        "dc_relay_last_minute_jobs",
        "Jobs that came to an end in the last minute.",
        labels=["action", "state"],
    )
    for (action, state), jobs in sorted(found.ended.items()):
        ended.add_metric([action, state], jobs)
    yield from (count, longest, total, ended)


def _done(found: Sequence[Durations]) -> Iterator[Metric]:
    labels = ["action", "target"]
    within = GaugeMetricFamily(
        "dc_relay_last_minute_done_seconds_bucket",
        "Jobs that succeeded in the last minute, by how long after they came; for quantiles.",
        labels=[*labels, "le"],
    )
    total = GaugeMetricFamily(
        "dc_relay_last_minute_done_seconds_sum",
        "Seconds from when they came until they were done, of all of them together.",
        labels=labels,
    )
    for row in found:
        place = [row.action, row.target]
        for bound, jobs in zip(BOUNDS, row.within, strict=True):
            within.add_metric([*place, str(bound)], jobs)
        within.add_metric([*place, "+Inf"], row.jobs)
        total.add_metric(place, row.seconds)
    yield from (within, total)
