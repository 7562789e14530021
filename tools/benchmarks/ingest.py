"""How many webhooks the door takes, beside a bare route, and how long they wait at steady rates.

The bare route is the floor: Flask under the same gunicorn, which checks the signature and answers
202, and stores nothing. Rounds of it alternate with rounds of ours, so that whatever the machine
does meanwhile meets both.

    .venv/bin/python -m tools.benchmarks.ingest
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tools.benchmarks import service
from tools.benchmarks.figures import spread, table, verdict
from tools.benchmarks.load import CONNECTIONS, Load, Webhooks, closed_loop, open_loop
from tools.drill.stores import Store

SIZES = (1_000, 100_000)
RATES = (50, 200, 500)
ROUNDS = 3
# Of a round, of what comes before it and is not counted, and of a steady rate, in seconds.
SECONDS = 1.5
WARM_UP = 0.5
STEADY_SECONDS = 3.0

LEAST_RATIO = 0.6
# At this rate, the 99th percentile of the waiting time, in milliseconds.
PROMISED_RATE = 200
LONGEST_P99 = 25.0


@dataclass
class Beside:
    """Rounds of one database and size beside the bare route."""

    store: str
    size: int
    bare: list[Load] = field(default_factory=list)
    ours: list[Load] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """Ours to that of the bare route right before it."""
        pairs = zip(self.ours, self.bare, strict=True)
        return [ours.taken_per_second / bare.taken_per_second for ours, bare in pairs]

    def row(self) -> list[str]:
        ratio = sorted(self.ratios)[len(self.ratios) // 2]
        return [
            self.store,
            f"{self.size // 1000} KB",
            spread([load.taken_per_second for load in self.bare]),
            spread([load.taken_per_second for load in self.ours]),
            spread(self.ratios, 2),
            spread([load.at(0.99) for load in self.ours], unit=" ms"),
            str(sum(load.refused for load in self.ours)),
            verdict(ratio >= LEAST_RATIO),
        ]


def measure() -> list[str]:
    with (
        service.databases() as stores,
        service.web(service.environment(""), app=service.BARE) as bare,
    ):
        beside = [_beside(bare, store, size) for size in SIZES for store in stores]
        steady = [row for store in stores for row in _steady(store)]
    return _section(beside, steady)


def _beside(bare: service.Process, store: Store, size: int) -> Beside:
    found = Beside(store.name, size)
    hooks = Webhooks(secret=service.SECRET, size=size)
    with service.web(service.environment(store.url)) as door:
        for port in (bare.port, door.port):
            closed_loop(port, hooks, seconds=WARM_UP)
        for _ in range(ROUNDS):
            found.bare.append(closed_loop(bare.port, hooks, seconds=SECONDS))
            found.ours.append(closed_loop(door.port, hooks, seconds=SECONDS))
    return found


def _steady(store: Store) -> list[list[str]]:
    hooks = Webhooks(secret=service.SECRET, size=1000)
    rows = []
    with service.web(service.environment(store.url)) as door:
        open_loop(door.port, hooks, rate=50, seconds=1)
        for rate in RATES:
            load = open_loop(door.port, hooks, rate=rate, seconds=STEADY_SECONDS)
            rows.append(_steady_row(store.name, rate, load))
    return rows


def _steady_row(store: str, rate: int, load: Load) -> list[str]:
    reached = ""
    if rate == PROMISED_RATE:
        reached = verdict(load.at(0.99) <= LONGEST_P99 and not load.refused)
    at = (f"{load.at(share):,.1f} ms" for share in (0.5, 0.95, 0.99))
    return [store, f"{rate}/s", *at, str(load.refused), reached]


def _section(beside: Sequence[Beside], steady: Sequence[Sequence[str]]) -> list[str]:
    return [
        "## Ingest",
        "",
        "`tools/benchmarks/ingest.py`: signed `snapshot.published` webhooks over "
        f"{CONNECTIONS} connections to one web process; accepted a second, beside a bare Flask "
        "route under the same gunicorn that checks the signature and stores nothing. "
        f"{ROUNDS} rounds of {SECONDS} s, bare and ours in turn: median (range). To reach: "
        f"{LEAST_RATIO} of the bare route.",
        "",
        *table(
            ("database", "body", "bare", "ours", "ratio", "our p99", "refused", "target"),
            [each.row() for each in beside],
        ),
        f"1 KB, open loop of {STEADY_SECONDS:.0f} s: the wait for the answer since the moment when "
        f"the webhook was to be sent. To reach: a p99 of {LONGEST_P99:.0f} ms at {PROMISED_RATE}/s "
        "and no refusal.",
        "",
        *table(("database", "rate", "p50", "p95", "p99", "refused", "target"), steady),
    ]


def main() -> None:
    print("\n".join(measure()))


if __name__ == "__main__":
    main()
