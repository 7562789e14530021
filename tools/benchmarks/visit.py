"""Measures one checkout's service on one database: the figures that are promised or compared.

One visit starts a web process, fills a backlog while no worker runs, starts a worker, waits until
the backlog is drained, and then sends at steady rates and in a burst. Content Delivery 2 answers in
20 ms and the destination at once; no item is published twice, so nothing is coalesced.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from tools import service
from tools.benchmarks.load import Load, Webhooks, closed_loop, open_loop
from tools.benchmarks.stubs import Stubs
from tools.processes import cpu_seconds
from tools.report import percentile

P95_MS = 125.0
# Shares of a visit's seconds.
WARM_UP, CLOSED, STEADY = 0.03, 0.1, 0.18
BURST_PER_SECOND = 30
# A wait for messages ends after so many times the visit's seconds.
PATIENCE = 5


@dataclass(frozen=True)
class Visit:
    """What one visit found. Rates are a second, times in milliseconds, CPU in seconds."""

    accepted: float
    p99_at_200: float
    refused: int
    p95_at_50: float
    p95_at_200: float
    drained: float
    cpu: float
    content_calls: float


@dataclass(frozen=True)
class Figure:
    """A figure of a visit, and its bound: an absolute one, or one of the ratio to another revision.

    `least` of a ratio is for what should be large, `most` for what should be small.
    """

    name: str
    of: Callable[[Visit], float]
    digits: int = 0
    absolute: float | None = None
    least: float | None = None
    most: float | None = None

    @property
    def bound(self) -> str:
        if self.absolute is not None:
            return f"≤ {self.absolute:g}"
        return f"ratio ≥ {self.least}" if self.least is not None else f"ratio ≤ {self.most}"

    def shown(self, visits: Sequence[Visit]) -> str:
        return f"{median(map(self.of, visits)):,.{self.digits}f}"

    def holds(self, visits: Sequence[Visit], ratio: float) -> bool:
        """Whether the bound holds for the median, or for the ratio to another revision."""
        if self.absolute is not None:
            return median(map(self.of, visits)) <= self.absolute
        return ratio >= self.least if self.least is not None else ratio <= (self.most or 0)


FIGURES = (
    Figure("webhooks accepted a second", lambda v: v.accepted, least=0.85),
    Figure("p99 of the answer at 200/s, ms", lambda v: v.p99_at_200, 1, absolute=25),
    Figure("refused at 200/s", lambda v: v.refused, absolute=0),
    Figure("webhook to destination at 50/s, p95, ms", lambda v: v.p95_at_50, absolute=P95_MS),
    Figure("webhook to destination at 200/s, p95, ms", lambda v: v.p95_at_200, absolute=P95_MS),
    Figure("jobs drained a second", lambda v: v.drained, least=0.85),
    Figure("CPU seconds per 1,000 events, web and worker", lambda v: v.cpu, 2, most=1.15),
    Figure("content calls per event in a burst", lambda v: v.content_calls, 3, absolute=0.12),
)


def visit(
    environ: Mapping[str, str], stubs: Stubs, seconds: float, checkout: service.Checkout
) -> Visit:
    """Measure a checkout with about `seconds` of load, besides the time that its backlog takes."""
    hooks = Webhooks()
    with service.web(environ, checkout=checkout) as web:
        first = stubs.count()
        warm = closed_loop(web.port, hooks, seconds=WARM_UP * seconds)
        before = cpu_seconds(web.pid)
        full = closed_loop(web.port, hooks, seconds=CLOSED * seconds)
        web_cpu = (cpu_seconds(web.pid) - before) / max(1, full.accepted)
        steady = open_loop(web.port, hooks, rate=200, seconds=STEADY * seconds)
        backlog = warm.accepted + full.accepted + steady.accepted
        with service.worker(environ, checkout=checkout) as worker:
            drained, worker_cpu = _drain(stubs, worker.pid, first, backlog, PATIENCE * seconds)
            p95 = [_p95(web.port, hooks, stubs, rate, STEADY * seconds) for rate in (50, 200)]
            calls = _burst(web.port, hooks, stubs, seconds)
    return Visit(
        accepted=full.taken_per_second,
        p99_at_200=steady.at(0.99),
        refused=steady.refused,
        p95_at_50=p95[0],
        p95_at_200=p95[1],
        drained=drained,
        cpu=(web_cpu + worker_cpu) * 1000,
        content_calls=calls,
    )


def _drain(
    stubs: Stubs, worker: int, first: int, backlog: int, patience: float
) -> tuple[float, float]:
    """Jobs a second from the first message of a backlog to its last, and the worker's CPU each."""
    # What the worker uses to start is no part of it.
    stubs.wait(first + 1, timeout=30)
    begun, before = stubs.count(), cpu_seconds(worker)
    stubs.wait(first + backlog, timeout=patience)
    cpu, ended = cpu_seconds(worker) - before, stubs.count()
    times = sorted(stubs.taken(first).values())
    if len(times) < 2:
        raise RuntimeError("no backlog was drained")
    return (len(times) - 1) / (times[-1] - times[0]), cpu / max(1, ended - begun)


def sent_and_taken(
    stubs: Stubs, load: Callable[[], Load], name: str | None = None, *, timeout: float
) -> tuple[Load, list[float]]:
    """Run a load, wait for its messages, and return the delay of each event in milliseconds."""
    before = stubs.count()
    found = load()
    deadline = time.monotonic() + timeout
    while True:
        delays = found.delays(stubs.taken(before, name))
        if max(delays, default=0) < float("inf") or time.monotonic() > deadline:
            return found, delays
        time.sleep(0.05)


def _p95(port: int, hooks: Webhooks, stubs: Stubs, rate: int, seconds: float) -> float:
    _, delays = sent_and_taken(
        stubs, lambda: open_loop(port, hooks, rate=rate, seconds=seconds), timeout=seconds + 3
    )
    return percentile(delays, 0.95)


def _burst(port: int, hooks: Webhooks, stubs: Stubs, seconds: float) -> float:
    """Content Delivery 2 calls per event."""
    calls = stubs.content_calls()
    count = round(BURST_PER_SECOND * seconds)
    load, _ = sent_and_taken(
        stubs,
        lambda: closed_loop(port, hooks, seconds=seconds, count=count),
        timeout=PATIENCE * seconds,
    )
    return (stubs.content_calls() - calls) / max(1, load.accepted)
