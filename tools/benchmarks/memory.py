"""What a web process and a worker have in memory, at rest and after many events.

In the first half caches, pools and threads reach their size; a leak is what every event leaves, so
it shows in the second half. On SQLite.
"""

from __future__ import annotations

from collections.abc import Sequence

from tools import report, service, stores
from tools.benchmarks import stubs
from tools.benchmarks.load import Webhooks, closed_loop
from tools.processes import descendants, resident_mb

EVENTS = 8_000
MOST_MB, MOST_GROWTH = 90.0, 1.1


def measure(*, brief: bool) -> list[str]:
    half = 100 if brief else EVENTS // 2
    with stubs.running() as outside, stores.store(stores.SqliteStore) as (store, _):
        environ = outside.environment(store.database("relay"))
        service.make_tables(environ)
        with service.web(environ) as web, service.worker(environ) as worker:
            # The gunicorn worker serves; its parent only watches.
            pids = {"web": max(descendants(web.pid)), "worker": worker.pid}
            hooks = Webhooks()
            sizes = [_sizes(web.port, outside, hooks, count, pids) for count in (1, half, half)]
    rows = [[name, *_cells([each[name] for each in sizes])] for name in pids]
    head = ("process", "at rest", f"after {half:,} events", f"after {2 * half:,}", "growth", "ok?")
    return [
        "## Memory",
        "",
        f"VmRSS in MB, on SQLite. Bounds: {MOST_MB:.0f} MB, and {MOST_GROWTH} times in the second "
        "half.",
        "",
        *report.table(head, rows),
    ]


def _sizes(
    port: int, outside: stubs.Stubs, hooks: Webhooks, count: int, pids: dict[str, int]
) -> dict[str, float]:
    """Memory of the processes after so many more events were delivered."""
    before = outside.count()
    load = closed_loop(port, hooks, seconds=60, count=count)
    if not outside.wait(before + load.accepted, timeout=120):
        raise RuntimeError("not all events were delivered")
    return {name: resident_mb(pid) for name, pid in pids.items()}


def _cells(sizes: Sequence[float]) -> list[str]:
    growth = sizes[-1] / sizes[-2]
    well = sizes[-1] <= MOST_MB and growth <= MOST_GROWTH
    return [*(f"{each:.1f}" for each in sizes), f"{growth:.2f}", report.verdict(well=well)]
