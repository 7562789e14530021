"""How many webhooks the door takes, beside a bare route, and how long they wait at steady rates.

.venv/bin/python -m benchmarks.ingest
"""

from __future__ import annotations

from benchmarks import service
from benchmarks.load import Webhooks, closed_loop, open_loop

SIZES = (1_000, 100_000)
RATES = (50, 200, 500)
SECONDS = 6.0
ROUNDS = 3


def main() -> None:
    with service.databases() as stores:
        for size in SIZES:
            for _ in range(ROUNDS):
                for store in stores:
                    print(size, store.name, *beside_bare(store, size), flush=True)
        for rate in RATES:
            for store in stores:
                print(rate, store.name, *at_rate(store, rate), flush=True)


def beside_bare(store: service.Store, size: int) -> list[str]:
    hooks = Webhooks(secret=service.SECRET, size=size)
    environ = service.environment(store.url)
    with service.web(environ, app=service.BARE) as bare:
        closed_loop(bare.port, hooks, seconds=1)
        floor = closed_loop(bare.port, hooks, seconds=SECONDS)
    with service.web(environ) as door:
        closed_loop(door.port, hooks, seconds=1)
        ours = closed_loop(door.port, hooks, seconds=SECONDS)
    ratio = ours.taken_per_second / floor.taken_per_second
    rates = f"{floor.taken_per_second:.0f} {ours.taken_per_second:.0f}"
    return [rates, f"ratio {ratio:.2f}", f"p99 {ours.at(0.99):.0f}", f"refused {ours.refused}"]


def at_rate(store: service.Store, rate: int) -> list[str]:
    hooks = Webhooks(secret=service.SECRET, size=1000)
    with service.web(service.environment(store.url)) as door:
        open_loop(door.port, hooks, rate=rate, seconds=1)
        found = open_loop(door.port, hooks, rate=rate, seconds=SECONDS)
    return [f"p50 {found.at(0.5):.1f} p99 {found.at(0.99):.1f} refused {found.refused}"]


if __name__ == "__main__":
    main()
