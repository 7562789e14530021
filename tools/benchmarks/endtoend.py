"""From the webhook to the destination: at steady rates, and after a burst.

One web process and one worker, as `dc-relay serve` runs them, pull from a pretend Content Delivery
2 that answers in 20 ms and send to a destination that answers at once; nothing is coalesced. An
event's time begins when its webhook was to be sent, which is stricter than when it was received.

    .venv/bin/python -m tools.benchmarks.endtoend
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass

from tools.benchmarks import service, world
from tools.benchmarks.figures import spread, table, verdict
from tools.benchmarks.load import Load, Webhooks, counted, open_loop, percentile

RATES = (50, 200)
ROUNDS = 3
SECONDS = 3.0
SHARES = (0.5, 0.95, 0.99)
BURST = 5_000
# How long a burst may be sent, and how long it may take to arrive after that.
LONGEST_BURST = 10.0
LONGEST_DRAIN = 14.0
P95_MS = 125.0
CALLS_PER_EVENT = 0.12


@dataclass(frozen=True)
class Steady:
    """What came of some seconds at a steady rate; times in milliseconds."""

    sent: int
    times: list[float]
    twice: int

    def at(self, share: float) -> float:
        return percentile(self.times, share) if self.times else 0.0


@dataclass(frozen=True)
class Rounds:
    """Several of them, one after the other, each begun when the last one's events had arrived."""

    store: str
    rate: int
    rounds: list[Steady]

    def row(self) -> list[str]:
        sent = sum(each.sent for each in self.rounds)
        arrived = sum(len(each.times) for each in self.rounds)
        p95 = [each.at(0.95) for each in self.rounds]
        return [
            self.store,
            f"{self.rate}/s",
            *(spread([each.at(share) for each in self.rounds], unit=" ms") for share in SHARES),
            f"{arrived:,} of {sent:,}",
            str(sum(each.twice for each in self.rounds)),
            verdict(statistics.median(p95) <= P95_MS and arrived == sent),
        ]


@dataclass(frozen=True)
class Burst:
    """What came of a burst."""

    store: str
    load: Load
    arrived: int
    seconds: float
    seen: world.Seen

    def row(self) -> list[str]:
        messages = max(1, self.arrived)
        calls = self.seen.content_calls / messages
        return [
            self.store,
            f"{self.load.taken_per_second:,.0f}",
            f"{self.arrived / self.seconds:,.0f}",
            f"{self.arrived:,} of {self.load.answers[202]:,}",
            str(self.seen.twice),
            f"{calls:.3f}",
            f"{self.seen.content_connections / messages * 1000:.1f}",
            f"{self.seen.downstream_connections / messages * 1000:.1f}",
            verdict(calls <= CALLS_PER_EVENT),
        ]


def measure() -> list[str]:
    steady: list[Rounds] = []
    bursts: list[Burst] = []
    with service.databases() as stores, world.running() as outside:
        for store in stores:
            environ = outside.environment(store.url)
            with service.web(environ) as door, service.worker(environ):
                hooks = Webhooks(secret=service.SECRET, size=1000)
                _at_rate(outside, door.port, hooks, rate=50, seconds=1.5)
                for rate in RATES:
                    rounds = [
                        _at_rate(outside, door.port, hooks, rate=rate, seconds=SECONDS)
                        for _ in range(ROUNDS)
                    ]
                    steady.append(Rounds(store.name, rate, rounds))
                bursts.append(_burst(outside, door.port, hooks, store.name))
    return _section(steady, bursts)


def times_of(load: Load, hooks: Webhooks, first: int, taken: Mapping[str, float]) -> list[float]:
    """The milliseconds from the sending of each event of a load to its arrival, where it arrived.

    `first` is the number of the load's first event.
    """
    events = ((hooks.event(first + number), sent) for number, sent in enumerate(load.sent))
    return [(taken[event] - sent) * 1000 for event, sent in events if event in taken]


def _at_rate(
    outside: world.World, port: int, hooks: Webhooks, *, rate: int, seconds: float
) -> Steady:
    before, first = outside.seen(), hooks.number
    load = open_loop(port, hooks, rate=rate, seconds=seconds)
    outside.wait(len(before.arrivals) + len(load.sent), timeout=5)
    seen = outside.seen().since(before)
    times = times_of(load, hooks, first, seen.taken())
    return Steady(len(load.sent), times, seen.twice)


def _burst(outside: world.World, port: int, hooks: Webhooks, store: str) -> Burst:
    before = outside.seen()
    started = time.monotonic()
    load = counted(port, hooks, count=BURST, seconds=LONGEST_BURST)
    outside.wait(len(before.arrivals) + load.answers[202], timeout=LONGEST_DRAIN)
    seen = outside.seen().since(before)
    taken = seen.taken()
    last = max(taken.values(), default=time.monotonic())
    return Burst(store, load, len(taken), last - started, seen)


def _section(steady: list[Rounds], bursts: list[Burst]) -> list[str]:
    return [
        "## End to end",
        "",
        "`tools/benchmarks/endtoend.py`: one web process and one worker; from the moment when the "
        "webhook was to be sent to the arrival at the destination. Content Delivery 2 answers in "
        f"20 ms. {ROUNDS} rounds of {SECONDS:.0f} s at each rate: median (range). To reach: p95 of "
        f"at most {P95_MS:.0f} ms, and every event arrives.",
        "",
        *table(
            ("database", "rate", "p50", "p95", "p99", "arrived", "twice", "target"),
            [each.row() for each in steady],
        ),
        f"A burst of {BURST:,} over 64 connections. Where not all arrived, the time of "
        f"{LONGEST_DRAIN:.0f} s after the last webhook was over. To reach: at most "
        f"{CALLS_PER_EVENT} calls of Content Delivery 2 for each event.",
        "",
        *table(
            (
                "database",
                "accepted a second",
                "arrived a second",
                "arrived",
                "twice",
                "CD2 calls an event",
                "connections to CD2 per 1,000",
                "connections downstream per 1,000",
                "target",
            ),
            [each.row() for each in bursts],
        ),
    ]


def main() -> None:
    print("\n".join(measure()))


if __name__ == "__main__":
    main()
