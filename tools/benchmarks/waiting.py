"""What it costs that 100,000 jobs wait for an hour from now: idle CPU, memory, and delivery.

Two services run side by side, one with an empty database and one with the waiting jobs, for four
destinations. First nothing happens for a while; then webhooks are sent to both by turns.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

from tools import report, stores
from tools.benchmarks import stubs
from tools.benchmarks.filling import fill_waiting
from tools.benchmarks.sides import DESTINATIONS, Side, Sides, sides
from tools.processes import cpu_seconds, resident_mb

JOBS = 100_000
IDLE_SECONDS = 10.0
# A new worker imports, connects, and reads everything once.
SETTLE_SECONDS = 6.0
DELIVERIES = 30
MOST_CPU, MOST_MEMORY, MOST_DELAY = 0.02, 1.1, 1.2


@dataclass(frozen=True)
class Found:
    """What the two workers used and how long delivery took, empty first."""

    store: str
    cpu: list[float]
    memory: list[float]
    delay: list[float]

    def rows(self) -> list[list[str]]:
        told = (
            ("CPU of a core", self.cpu, 100.0, " %", self.cpu[1] <= MOST_CPU),
            ("memory", self.memory, 1.0, " MB", _ratio(self.memory) <= MOST_MEMORY),
            (
                "webhook to the destination",
                self.delay,
                1.0,
                " ms",
                _ratio(self.delay) <= MOST_DELAY,
            ),
        )
        return [
            [
                f"{self.store}: {name}",
                *(f"{each * factor:.1f}{unit}" for each in values),
                f"{_ratio(values):.2f}",
                "yes" if well else "**no**",
            ]
            for name, values, factor, unit, well in told
        ]


def _ratio(values: list[float]) -> float:
    return values[1] / values[0] if values[0] else 1.0


def measure(*, brief: bool) -> list[str]:
    found = []
    jobs = 1_000 if brief else JOBS
    now = time.time_ns() // 1_000_000
    with stubs.running() as outside:
        for kind in stores.KINDS.values():
            with (
                stores.store(kind) as (store, directory),
                sides(
                    store,
                    directory,
                    outside,
                    lambda _: None,
                    lambda url: fill_waiting(url, jobs, now, DESTINATIONS),
                ) as both,
            ):
                found.append(_compared(store.name, both, brief=brief))
    return [
        "## Jobs that wait",
        "",
        f"{jobs:,} jobs wait for an hour from now, beside an empty database: the worker's CPU over "
        f"{IDLE_SECONDS:.0f} idle seconds, its memory (VmRSS), and {DELIVERIES} deliveries each by "
        f"turns (median). Bounds: {MOST_CPU:.0%} of a core, {MOST_MEMORY} times the memory, "
        f"{MOST_DELAY} times the delay.",
        "",
        *report.table(
            ("", "empty", f"{jobs:,} waiting", "ratio", "ok?"),
            [row for each in found for row in each.rows()],
        ),
    ]


def _compared(store: str, both: Sides, *, brief: bool) -> Found:
    workers = [side.worker.pid for side in (both.little, both.much)]
    time.sleep(0 if brief else SETTLE_SECONDS)
    before, started = [cpu_seconds(pid) for pid in workers], time.monotonic()
    time.sleep(1 if brief else IDLE_SECONDS)
    took = time.monotonic() - started
    return Found(
        store,
        [(cpu_seconds(pid) - was) / took for pid, was in zip(workers, before, strict=True)],
        [resident_mb([pid]) for pid in workers],
        [median(each) for each in both.by_turns(_delay, 2 if brief else DELIVERIES)],
    )


def _delay(side: Side) -> float:
    return side.delivered()[1]
