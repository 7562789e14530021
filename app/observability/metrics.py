"""Every counter of the service, in one place, for Prometheus.

Each label value must come from code (a reason slug, an action, a state), never from input: every
new value is a new time series that lives as long as the process. This module must not know who
counts, or how the numbers are served.
"""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, values
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

# The variable that prometheus_client looks for its directory in.
_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"

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


def share_counters(directory: Path) -> None:
    """Count in files of `directory`, so that processes forked from this one add up.

    What a process has counted stays when it is killed. Call it in the parent, before anything is
    counted; the directory must be empty (https://prometheus.github.io/client_python/multiprocess/).
    """
    os.environ[_DIRECTORY] = str(directory)
    # The library chooses at its import whether to share, and an application server may have
    # imported us long before it reads its configuration.
    values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]


def door_counters() -> Collector:
    """The counters of this process, or of all that share theirs."""
    directory = os.environ.get(_DIRECTORY)
    if directory is None:
        return REGISTRY
    shared = CollectorRegistry()
    MultiProcessCollector(shared, path=directory)  # type: ignore[no-untyped-call]
    return shared


_refused = count()
_refused_so_far = 0


def refused_signatures() -> int:
    """Tell how many webhooks this process refused for their signature, since it started."""
    return _refused_so_far


def count_webhook(outcome: str) -> None:
    """Count one webhook; `outcome` is `accepted`, `duplicate`, `ignored` or a `reason` slug."""
    global _refused_so_far  # noqa: PLW0603 - counters live as long as the process
    if outcome.startswith("signature-"):
        _refused_so_far = next(_refused) + 1
    _WEBHOOKS.labels(outcome=outcome).inc()


def count_attempt(action: str, outcome: str, seconds: float) -> None:
    """Count one finished attempt of a job and how long it took."""
    _ATTEMPTS.labels(action=action, outcome=outcome).inc()
    _ATTEMPT_SECONDS.labels(action=action).observe(seconds)


def count_job(action: str, state: str) -> None:
    """Count one job that came to an end; `state` is its final state, such as `succeeded`."""
    _JOBS.labels(action=action, state=state).inc()
