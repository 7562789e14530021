"""After a worker is killed, and after a destination was away: how soon all is well again.

On PostgreSQL. First one of two workers is killed with `kill -9` while it has slow sends in hand;
what counts is the time until the other one has finished all of them. Then a destination goes away
while a backlog builds up, and comes back; what counts is how fast the backlog leaves beside the
rate before, with the same events for another destination in both, and whether these notice.

The breaker of the destination opens in the outage. Its pauses (10 s, then twice as long each time
up to 5 minutes) are no part of the drain: an outage of an hour ends up to five minutes late. So it
is brought back within the first pause, and the drain counts from the first message that it takes.
What follows is the slow start: one more send at once for each good answer.

    .venv/bin/python -m tools.benchmarks.recovery
"""

from __future__ import annotations

import itertools
import signal
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from app.storage import Storage
from app.storage.tables import in_state, jobs
from tools.benchmarks import service, world
from tools.benchmarks.backlog import fill, left, wait_for_workers
from tools.benchmarks.endtoend import P95_MS, times_of
from tools.benchmarks.figures import table, verdict
from tools.benchmarks.load import Load, Webhooks, counted, open_loop, percentile
from tools.drill.stores import PostgresStore

IN_HAND = 40
SEND_SECONDS = 3.0
BACKLOG = 10_000
STEADY_SECONDS = 4.0
# Within the breaker's first pause.
OUTAGE_SECONDS = 7.0
DRAIN_SECONDS = 12.0
OTHER_RATE = 50

FINISHED_WITHIN = 20.0
LEAST_SHARE = 0.8


@dataclass(frozen=True)
class Outage:
    """What came of the outage. Rates in messages a second, times in seconds."""

    steady: float
    backlog: int
    during: Load
    away: float
    back: list[float]
    others: Load
    other_times: list[float]

    @property
    def window(self) -> float:
        return self.back[-1] - self.back[0] if len(self.back) > 1 else 0.0

    @property
    def late(self) -> float:
        """The rate of the window's last third, when the slow start is over or nearly so."""
        since = self.back[-1] - self.window / 3
        return sum(at > since for at in self.back) / (self.window / 3)

    @property
    def whole(self) -> float:
        """The rate over the whole backlog, the rest of it reckoned with that of the last third."""
        rest = max(0, self.backlog - len(self.back))
        return max(self.backlog, len(self.back)) / (self.window + rest / self.late)

    @property
    def until_fast(self) -> float | None:
        """From the first message until a second in which the wanted share of the rate was met."""
        for second in range(int(self.window)):
            start = self.back[0] + second
            if sum(start <= at < start + 1 for at in self.back) >= LEAST_SHARE * self.steady:
                return float(second)
        return None


def measure() -> list[str]:
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="dc-relay-")))
        store = PostgresStore(folder)
        opened.callback(store.close)
        service.make_tables(store.url)
        outside = opened.enter_context(world.running())
        rules = {"banner": ("search",), "article": ("other",)}
        environ = outside.configured(store.url, folder, rules)
        storage = service.opened(store.url)
        opened.callback(storage.close)
        killed = _kill(outside, environ, storage)
        outage = _outage(outside, environ, storage)
    return _section(killed, outage)


def _kill(
    outside: world.World, environ: dict[str, str], storage: Storage
) -> tuple[int, float | None, int]:
    """How many jobs the killed worker had, in how many seconds they were done, messages twice."""
    outside.behave("search", seconds=SEND_SECONDS)
    with service.worker(environ) as first, service.worker(environ):
        wait_for_workers(environ["DATABASE_URL"], 2)
        fill(environ, Webhooks(secret=service.SECRET, size=1000), IN_HAND)
        outside.wait(IN_HAND, timeout=SEND_SECONDS - 0.5)
        held = _held_by(storage, first.popen.pid)
        first.popen.send_signal(signal.SIGKILL)
        killed_at = time.monotonic()
        first.popen.wait()
        while unfinished(storage, held) and time.monotonic() < killed_at + 2 * FINISHED_WITHIN:
            time.sleep(0.05)
        seconds = None if unfinished(storage, held) else time.monotonic() - killed_at
    outside.behave("search")
    return len(held), seconds, outside.seen().twice


def _held_by(storage: Storage, pid: int) -> list[int]:
    with storage.read() as connection:
        statement = select(jobs.c.id).where(
            in_state(jobs, "running"), jobs.c.owner.contains(f".{pid}.")
        )
        return list(connection.execute(statement).scalars())


def unfinished(storage: Storage, held: Sequence[int]) -> int:
    """How many of these jobs are not done yet."""
    with storage.read() as connection:
        statement = select(jobs.c.id).where(jobs.c.id.in_(held), ~in_state(jobs, "succeeded"))
        return len(connection.execute(statement).all())


def _outage(outside: world.World, environ: dict[str, str], storage: Storage) -> Outage:
    banners = Webhooks(secret=service.SECRET, size=1000)
    fill(environ, banners, BACKLOG)
    articles = Webhooks(secret=service.SECRET, size=1000, kind="article")
    with service.web(environ) as door, service.worker(environ):
        steady = _steady(outside, door.port, articles)
        outside.behave("search", status=503)
        away_since = time.monotonic()
        during = counted(door.port, banners, count=BACKLOG, seconds=OUTAGE_SECONDS)
        fill(environ, banners, max(0, BACKLOG - left(storage)))
        backlog = left(storage)
        outside.behave("search")
        back_at = time.monotonic()
        _until_taken(outside, since=back_at)
        first = articles.number
        others = open_loop(door.port, articles, rate=OTHER_RATE, seconds=DRAIN_SECONDS)
        time.sleep(0.5)
        seen = outside.seen()
    taken = sorted(at for at in seen.taken("search").values() if at > back_at)
    times = times_of(others, articles, first, seen.taken("other"))
    return Outage(steady, backlog, during, back_at - away_since, taken, others, times)


def _steady(outside: world.World, port: int, others: Webhooks) -> float:
    """Messages a second to the destination once they flow, beside the same others as later."""
    outside.wait(outside.count() + 200, timeout=10)
    with ThreadPoolExecutor(1) as beside:
        sending = beside.submit(
            open_loop, port, others, rate=OTHER_RATE, seconds=STEADY_SECONDS + 1
        )
        time.sleep(0.5)
        before, started = len(outside.seen().taken("search")), time.monotonic()
        time.sleep(STEADY_SECONDS)
        found = len(outside.seen().taken("search")) - before
        seconds = time.monotonic() - started
        sending.result()
    return found / seconds


def _until_taken(outside: world.World, *, since: float) -> None:
    """Wait for the first message that is taken again: the breaker's probe."""
    for _ in itertools.takewhile(lambda _: time.monotonic() < since + 35, itertools.count()):
        if any(at > since for at in outside.seen().taken("search").values()):
            return
        time.sleep(0.2)


def _section(killed: tuple[int, float | None, int], outage: Outage) -> list[str]:
    held, seconds, twice = killed
    told = "not within the time" if seconds is None else f"{seconds:.1f} s"
    within = verdict(bool(held) and seconds is not None and seconds <= FINISHED_WITHIN)
    share = outage.whole / outage.steady
    p95 = percentile(outage.other_times, 0.95)
    fast = outage.until_fast
    rows = [
        [
            "`kill -9`: jobs in hand, and how many of their messages came twice",
            f"{held}, {twice}",
            "",
        ],
        [
            f"until another worker had finished them (a send takes {SEND_SECONDS:.0f} s)",
            told,
            f"{FINISHED_WITHIN:.0f} s: {within}",
        ],
        [
            f"messages a second before the outage, beside {OTHER_RATE}/s for another destination",
            f"{outage.steady:,.0f}",
            "",
        ],
        [
            f"p99 of the door in the outage, {outage.during.answers[202]:,} webhooks in "
            f"{outage.away:.0f} s",
            f"{outage.during.at(0.99):,.0f} ms",
            "",
        ],
        [
            f"{outage.backlog:,} of backlog: messages a second, {len(outage.back):,} of them in "
            f"{outage.window:.0f} s and the rest reckoned",
            f"{outage.whole:,.0f}, a share of {share:.2f}",
            f"{LEAST_SHARE}: {verdict(share >= LEAST_SHARE)}",
        ],
        [
            f"slow start: until a second with {LEAST_SHARE:.0%} of the rate before",
            "not within the time" if fast is None else f"{fast:.0f} s",
            "",
        ],
        [
            f"meanwhile, events for another destination at {OTHER_RATE}/s: p99 of the door",
            f"{outage.others.at(0.99):.0f} ms, {outage.others.refused} refused",
            "",
        ],
        [
            "the same events from end to end: p95",
            f"{p95:,.0f} ms, {len(outage.other_times):,} of {len(outage.others.sent):,}",
            f"{P95_MS:.0f} ms: {verdict(p95 <= P95_MS)}",
        ],
    ]
    return [
        "## Recovery",
        "",
        "`tools/benchmarks/recovery.py`: on PostgreSQL, one run. A lease lasts 10 s and workers look for "
        "lost ones every 2.5 s, which is most of the time after a `kill -9`. After the outage, new "
        "events for the same destination wait in line behind the backlog.",
        "",
        *table(("", "found", "to reach"), rows),
    ]


def main() -> None:
    print("\n".join(measure()))


if __name__ == "__main__":
    main()
