"""Destinations that fail: how fast a backlog drains afterwards, and whether others notice.

An outage, on PostgreSQL: a destination answers 503 while a backlog builds up, and comes back. How
fast does the backlog drain beside the rate before, and do events for another destination notice?
It is brought back within the breaker's first pause (10 s), because the pauses are on purpose; the
slow start is part of the figure.

A hang, on SQLite: every event goes to two destinations. Then one of them takes 15 s for each call.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tools import report, service, stores
from tools.benchmarks.load import Load, Webhooks, closed_loop, open_loop
from tools.benchmarks.stubs import Stubs, running
from tools.benchmarks.visit import P95_MS, sent_and_taken
from tools.report import percentile

BACKLOG = 6_000
STEADY_SECONDS = 4.0
OUTAGE_SECONDS = 6.0
DRAIN_SECONDS = 10.0
RATE = 50
LEAST_SHARE = 0.8
HANGS_FOR = 15.0
HANG_RATE, HANG_SECONDS = 25, 5.0
# Of the p95 before.
MOST_SLOWER = 1.2


def measure(*, brief: bool) -> list[str]:
    scale = 0.1 if brief else 1.0
    with running() as outside:
        rows = [*_outage(outside, scale), *_hang(outside, scale)]
    return [
        "## Destinations that fail",
        "",
        f"A destination answers 503 for {OUTAGE_SECONDS * scale:g} s, with a backlog, on "
        f"PostgreSQL; meanwhile events for another one come at {RATE}/s. Then, on SQLite, one of "
        f"two destinations takes {HANGS_FOR:.0f} s for each call.",
        "",
        *report.table(("", "found", "bound", "ok?"), rows),
    ]


def _outage(outside: Stubs, scale: float) -> list[list[str]]:
    with stores.store(stores.PostgresStore) as (store, directory):
        rules = {"banner": ("search",), "article": ("other",)}
        environ = outside.configured(store.database("relay"), directory, rules)
        service.make_tables(environ)
        banners, articles = Webhooks(), Webhooks(kind="article")

        def others(seconds: float) -> Callable[[], Load]:
            return lambda: open_loop(web.port, articles, rate=RATE, seconds=seconds)

        with service.web(environ) as web:
            closed_loop(web.port, banners, seconds=30, count=round(BACKLOG * scale))
            with service.worker(environ):
                outside.wait(outside.count() + 100, timeout=20)
                steady, *_ = _rate(outside, others(STEADY_SECONDS * scale))
                outside.behave("search", status=503)
                away = closed_loop(web.port, banners, seconds=OUTAGE_SECONDS * scale)
                before = outside.count()
                outside.behave("search")
                _until_taken(outside, before)
                drained, load, delays = _rate(outside, others(DRAIN_SECONDS * scale))
    share, p95 = drained / steady, percentile(delays, 0.95)
    return [
        ["messages a second before the outage", f"{steady:,.0f}", "", ""],
        ["p99 of the webhook's answer during it", f"{away.at(0.99):,.0f} ms", "", ""],
        [
            "messages a second after it, of those before",
            f"{share:.2f}",
            f"≥ {LEAST_SHARE}",
            report.verdict(well=share >= LEAST_SHARE),
        ],
        [
            f"webhook to the other destination meanwhile, p95 of {len(load.sent):,}",
            f"{p95:,.0f} ms",
            f"≤ {P95_MS:.0f} ms",
            report.verdict(well=p95 <= P95_MS),
        ],
    ]


def _rate(outside: Stubs, load: Callable[[], Load]) -> tuple[float, Load, list[float]]:
    """Messages a second to `search` during a load for `other`, that load, and its delays."""
    before, started = outside.count(), time.monotonic()
    found, delays = sent_and_taken(outside, load, "other", timeout=5)
    taken = outside.taken(before, "search")
    return len(taken) / (time.monotonic() - started), found, delays


def _until_taken(outside: Stubs, since: int) -> None:
    """Wait for the breaker's probe: the first message that is answered 200 again."""
    deadline = time.monotonic() + 35
    while not outside.taken(since, "search") and time.monotonic() < deadline:
        time.sleep(0.1)


def _hang(outside: Stubs, scale: float) -> list[list[str]]:
    with stores.store(stores.SqliteStore) as (store, directory):
        names = ("hanging", "healthy")
        environ = outside.configured(store.database("relay"), directory, {"banner": names})
        service.make_tables(environ)
        hooks = Webhooks()

        def p95(seconds: float) -> float:
            _, delays = sent_and_taken(
                outside,
                lambda: open_loop(web.port, hooks, rate=HANG_RATE, seconds=seconds),
                "healthy",
                timeout=5,
            )
            return percentile(delays, 0.95)

        with service.web(environ) as web, service.worker(environ):
            p95(1)
            alone = p95(HANG_SECONDS * scale)
            outside.behave("hanging", seconds=HANGS_FOR)
            beside = p95(HANG_SECONDS * scale)
            # Ends the calls that hang: the worker need not wait for them.
            outside.process.popen.terminate()
    slower = beside / alone
    return [
        ["webhook to a healthy destination, p95", f"{alone:.0f} ms", "", ""],
        [
            "the same beside one that hangs",
            f"{beside:.0f} ms, {slower:.2f} times",
            f"≤ {MOST_SLOWER} times",
            report.verdict(well=slower <= MOST_SLOWER),
        ],
    ]
