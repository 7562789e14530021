"""What is counted in a process, for Prometheus: webhooks. What concerns jobs is in the ledger.

Each label value must come from code (a reason slug, an action, a state), never from input: every
new value is a new time series that lives as long as the process.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, Counter, values
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

# The variable that prometheus_client looks for its directory in.
_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"

_WEBHOOKS = Counter(
    "dc_relay_webhooks_total",
    "Webhooks received, by what was answered: accepted, duplicate, ignored, or a refusal's reason.",
    ["outcome"],
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


def webhooks_by_outcome() -> dict[str, float]:
    """How many webhooks were answered how since the web started: by all that share counters."""
    return {
        sample.labels["outcome"]: sample.value
        for metric in door_counters().collect()
        for sample in metric.samples
        if sample.name == "dc_relay_webhooks_total"
    }


def count_webhook(outcome: str) -> None:
    """Count one webhook; `outcome` is `accepted`, `duplicate`, `ignored` or a `reason` slug."""
    _counter(outcome).inc()


@lru_cache(maxsize=256)
def _counter(outcome: str) -> Counter:
    # To find it among its like takes longer than to count.
    return _WEBHOOKS.labels(outcome=outcome)
