"""On one PostgreSQL, how accepting and dispatching grow with processes, and what stands in the way.

1, 2 and 4 web processes take webhooks from a closed loop; then 1, 2 and 4 workers work off a
backlog of one destination, and 4 workers one of four destinations. Meanwhile the server's own view
of its connections is sampled (`pg_stat_activity`), and the processor time of each part is read from
/proc: on a machine with few cores it is they that run out first, and the shares say so. At the end
the tables are weighed.

    .venv/bin/python -m tools.benchmarks.scale
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from tools.benchmarks import service, world
from tools.benchmarks.backlog import fill, wait_for_workers
from tools.benchmarks.figures import table
from tools.benchmarks.load import Webhooks, closed_loop
from tools.benchmarks.machine import Shares, family, parent
from tools.drill.stores import PostgresStore

PROCESSES = (1, 2, 4)
SECONDS = 2.5
BACKLOG = 3_000
NAMES = ("one", "two", "three", "four")
SAMPLE_EVERY = 0.02
TABLES = ("webhook_events", "jobs", "attempts", "sent_items")


@dataclass(frozen=True)
class Stretch:
    """What came of one set-up over some seconds."""

    name: str
    rate: float
    busy: float
    connections: float
    waits: Counter[str]
    cores: dict[str, float]

    def row(self, first: float) -> list[str]:
        total = max(1, self.waits.total())
        often = [f"{name} {count / total:.0%}" for name, count in self.waits.most_common(3)]
        return [
            self.name,
            f"{self.rate:,.0f}",
            f"{self.rate / first:.2f}" if first else "",
            f"{self.busy:.1f} of {self.connections:.0f}",
            ", ".join(often) or "none",
            ", ".join(self._cost(name) for name in self.cores),
        ]

    def _cost(self, group: str) -> str:
        busy = self.cores[group]
        return f"{group} {busy:.2f} ({busy / self.rate * 1000:.1f} ms)" if self.rate else group


@dataclass(frozen=True)
class Weight:
    """What a row of a table takes, in bytes: in the table itself, and in its indexes."""

    name: str
    rows: int
    table: float
    index: float


class Activity:
    """Samples what the server's connections do while the block runs."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.samples = 0
        self.busy = 0
        self.connections = 0
        self.waits: Counter[str] = Counter()

    def __enter__(self) -> Activity:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        # Busy is who works, waits for something on the server, or holds a transaction open.
        statement = (
            "SELECT state, wait_event_type, wait_event FROM pg_stat_activity"
            " WHERE application_name = 'dc-relay'"
        )
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._over.wait(SAMPLE_EVERY):
                rows = connection.execute(statement).fetchall()
                self.samples += 1
                self.connections = max(self.connections, len(rows))
                for state, kind, event in rows:
                    if state == "idle":
                        continue
                    self.busy += 1
                    self.waits["running" if kind is None else f"{kind}/{event}"] += 1


def measure() -> list[str]:
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="dc-relay-")))
        store = PostgresStore(folder)
        opened.callback(store.close)
        service.make_tables(store.url)
        outside = opened.enter_context(world.running())
        accepting = [_accepting(store, outside, count) for count in PROCESSES]
        _empty(store.url)
        one = outside.configured(store.url, folder, {"banner": NAMES[:1]})
        dispatching = [_dispatching(store, outside, one, count) for count in PROCESSES]
        weights = _weights(store.url)
        _empty(store.url)
        kinds = {f"banner-{name}": (name,) for name in NAMES}
        several = outside.configured(store.url, folder, kinds)
        dispatching.append(_dispatching(store, outside, several, 4, kinds=tuple(kinds)))
    return _section(accepting, dispatching, weights)


def _accepting(store: PostgresStore, outside: world.World, count: int) -> Stretch:
    hooks = Webhooks(secret=service.SECRET, size=1000)
    with service.web(outside.environment(store.url), processes=count) as door:
        closed_loop(door.port, hooks, seconds=1)
        groups = {"web": door.tree, "load": lambda: [os.getpid()]}
        with _watched(store, groups) as (activity, shares):
            load = closed_loop(door.port, hooks, seconds=SECONDS)
    return _stretch(f"{count} web", load.taken_per_second, activity, shares, load.seconds)


def _dispatching(
    store: PostgresStore,
    outside: world.World,
    environ: dict[str, str],
    count: int,
    kinds: Sequence[str] = ("banner",),
) -> Stretch:
    # Filled anew for each: what an earlier one left is worked off as well.
    for kind in kinds:
        hooks = Webhooks(secret=service.SECRET, size=1000, kind=kind)
        fill(environ, hooks, BACKLOG // len(kinds))
    with ExitStack() as opened:
        before = outside.count()
        workers = [opened.enter_context(service.worker(environ)) for _ in range(count)]
        wait_for_workers(store.url, count)
        # They have their first connections then, and messages flow.
        outside.wait(before + 100, timeout=5)
        groups = {
            "workers": lambda: [worker.popen.pid for worker in workers],
            "outside": lambda: [outside.process.popen.pid],
        }
        with _watched(store, groups) as (activity, shares):
            started, first = time.monotonic(), outside.count()
            outside.wait(before + BACKLOG, timeout=SECONDS)
            seconds = time.monotonic() - started
            rate = (outside.count() - first) / seconds
    name = f"{count} {'worker' if count == 1 else 'workers'}"
    if len(kinds) > 1:
        name += f", {len(kinds)} destinations"
    return _stretch(name, rate, activity, shares, seconds)


@contextmanager
def _watched(
    store: PostgresStore, groups: Mapping[str, Callable[[], list[int]]]
) -> Iterator[tuple[Activity, Shares]]:
    server = _server(store.url)
    with Activity(store.url) as activity, Shares({**groups, "PostgreSQL": server}) as shares:
        yield activity, shares


def _server(url: str) -> Callable[[], list[int]]:
    with psycopg.connect(url) as connection:
        postmaster = parent(connection.info.backend_pid)
    return lambda: family(postmaster)


def _stretch(name: str, rate: float, activity: Activity, shares: Shares, seconds: float) -> Stretch:
    return Stretch(
        name,
        rate,
        activity.busy / max(1, activity.samples),
        activity.connections,
        activity.waits,
        {group: used / seconds for group, used in shares.used.items()},
    )


def _empty(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE webhook_events, sent_items CASCADE")


def _weights(url: str) -> list[Weight]:
    """What a row of each table takes, as the service leaves them: with dead rows and free space."""
    found = []
    with psycopg.connect(url, autocommit=True) as connection:
        for name in TABLES:
            statement = sql.SQL(
                "SELECT count(*), pg_table_size({name}), pg_indexes_size({name}) FROM {table}"
            ).format(name=sql.Literal(name), table=sql.Identifier(name))
            rows, table_bytes, index_bytes = connection.execute(statement).fetchall()[0]
            found.append(Weight(name, rows, table_bytes / max(1, rows), index_bytes / max(1, rows)))
    return found


def _section(
    accepting: Sequence[Stretch], dispatching: Sequence[Stretch], weights: Sequence[Weight]
) -> list[str]:
    head = (
        "",
        "a second",
        "to one",
        "busy connections",
        "what they do most",
        "processors busy (each event)",
    )
    whole = sum(weight.table + weight.index for weight in weights)
    return [
        "## Scale",
        "",
        "`tools/benchmarks/scale.py`: on one PostgreSQL, on the same machine as everything else. Busy "
        "connections are those that work, wait on the server or hold a transaction open, on "
        "average, of those that were open; what they do is sampled from `pg_stat_activity` "
        "(`Client/ClientRead`: the server waits for the service within a transaction). Accepting, "
        "with 64 connections:",
        "",
        *table(head, [each.row(accepting[0].rate) for each in accepting]),
        "Dispatching a backlog, from the claim to the message at the destination:",
        "",
        *table(head, [each.row(dispatching[0].rate) for each in dispatching]),
        "What a row takes, of a webhook of 1 KB that was forwarded once:",
        "",
        *table(
            ("table", "rows", "bytes of the table", "bytes of its indexes"),
            [
                [each.name, f"{each.rows:,}", f"{each.table:,.0f}", f"{each.index:,.0f}"]
                for each in weights
            ],
        ),
        f"Together {whole:,.0f} bytes an event.",
        "",
    ]


def main() -> None:
    print("\n".join(measure()))


if __name__ == "__main__":
    main()
