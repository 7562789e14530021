"""Does a destination that hangs slow another one? One run, two phases, a ratio.

Every webhook goes to two destinations, on SQLite with one web process and one worker. First both
answer at once; then one of them hangs for 15 seconds a call. What counts is the time from the
sending of the webhook to the arrival at the healthy one, and how its 95th percentile changes.

    .venv/bin/python -m tools.benchmarks.isolation
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tools.benchmarks import service, world
from tools.benchmarks.endtoend import times_of
from tools.benchmarks.figures import table
from tools.benchmarks.load import Webhooks, open_loop, percentile
from tools.drill.stores import SqliteStore

RATE = 25
SECONDS = 6.0
HANGS_FOR = 15.0


def measure() -> list[str]:
    with (
        tempfile.TemporaryDirectory(prefix="dc-relay-") as folder,
        world.running() as outside,
    ):
        place = Path(folder)
        store = SqliteStore(place)
        service.make_tables(store.url)
        names = ("hanging", "healthy")
        environ = outside.configured(store.url, place, {"*": names})
        with service.web(environ) as door, service.worker(environ):
            hooks = Webhooks(secret=service.SECRET, size=1000)
            _times(outside, door.port, hooks, seconds=2)
            alone = _times(outside, door.port, hooks, seconds=SECONDS)
            outside.behave("hanging", seconds=HANGS_FOR)
            beside = _times(outside, door.port, hooks, seconds=SECONDS)
            # Breaks the calls that hang: the worker need not wait for them.
            outside.end()
    return _section(alone, beside)


def _times(outside: world.World, port: int, hooks: Webhooks, *, seconds: float) -> list[float]:
    before, first = outside.seen(), hooks.number
    load = open_loop(port, hooks, rate=RATE, seconds=seconds)
    time.sleep(1)  # the last ones are on their way
    return times_of(load, hooks, first, outside.seen().since(before).taken("healthy"))


def _section(alone: list[float], beside: list[float]) -> list[str]:
    rows = [
        [name, str(len(found)), *(f"{percentile(found, at):.0f} ms" for at in (0.5, 0.95))]
        for name, found in (("both healthy", alone), ("beside one that hangs", beside))
    ]
    ratio = percentile(beside, 0.95) / percentile(alone, 0.95)
    return [
        "## A destination that hangs",
        "",
        f"`tools/benchmarks/isolation.py`: {RATE} publishes a second for {SECONDS:.0f} s, each to two "
        "destinations, on SQLite with one worker; first both answer at once, then one hangs for "
        f"{HANGS_FOR:.0f} s a call. From the sending of the webhook to the arrival at the healthy "
        "one.",
        "",
        *table(("", "arrived", "p50", "p95"), rows),
        f"The p95 changed by a factor of {ratio:.2f}.",
        "",
    ]


def main() -> None:
    print("\n".join(measure()))


if __name__ == "__main__":
    main()
