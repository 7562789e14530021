"""Every counter of the service, in one place, for Prometheus.

Each label value must come from code (a reason slug, an action, a state), never from input: every
new value is a new time series that lives as long as the process. This module must not know who
counts, or how the numbers are served.
"""

from __future__ import annotations

from prometheus_client import Counter, Histogram

_WEBHOOKS = Counter(
    "dc_relay_webhooks_total",
    "Webhooks received, by what was answered: accepted, duplicate, ignored, or a refusal's reason.",
    ["outcome"],
)
_JOBS = Counter(
    "dc_relay_jobs_total",
    "Jobs that came to an end, by action and final state.",
    ["action", "state"],
)
_ATTEMPTS = Counter(
    "dc_relay_attempts_total",
    "Attempts of jobs, by action and outcome.",
    ["action", "outcome"],
)
_ATTEMPT_SECONDS = Histogram(
    "dc_relay_attempt_seconds",
    "How long an attempt took, calls to other services included, in seconds.",
    ["action"],
    # An attempt is a few HTTP calls with timeouts of 15 s each: from one fast call to all slow.
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60),
)


def count_webhook(outcome: str) -> None:
    """Count one webhook; `outcome` is `accepted`, `duplicate`, `ignored` or a `reason` slug."""
    _WEBHOOKS.labels(outcome=outcome).inc()


def count_attempt(action: str, outcome: str, seconds: float) -> None:
    """Count one finished attempt of a job and how long it took."""
    _ATTEMPTS.labels(action=action, outcome=outcome).inc()
    _ATTEMPT_SECONDS.labels(action=action).observe(seconds)


def count_job(action: str, state: str) -> None:
    """Count one job that came to an end; `state` is its final state, such as `succeeded`."""
    _JOBS.labels(action=action, state=state).inc()
