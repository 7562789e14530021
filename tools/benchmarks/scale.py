"""On one PostgreSQL, how accepting and sending grow with processes, and what an event costs.

1, 2 and 4 web processes take webhooks in a closed loop; then 1, 2 and 4 workers drain a backlog for
one destination, and 4 workers one for four destinations. The processor time of each part is read
from /proc: on a machine with few cores it is they that run out first. At the end the tables are
weighed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import requests

from tools import report, service, stores
from tools.benchmarks.load import Webhooks, closed_loop
from tools.benchmarks.stubs import Stubs, running
from tools.processes import cpu_seconds, parent

PROCESSES = (1, 2, 4)
SECONDS = 2.5
BACKLOG = 3_000
NAMES = ("one", "two", "three", "four")
TABLES = ("webhook_events", "jobs", "attempts", "sent_items")


@dataclass(frozen=True)
class Stretch:
    """What one set-up did: events, in how many seconds, with how much CPU of each part."""

    name: str
    events: int
    seconds: float
    cpu: Mapping[str, float]

    @property
    def rate(self) -> float:
        return self.events / self.seconds

    def row(self, first: Stretch) -> list[str]:
        parts = (
            f"{part} {used / self.seconds:.2f} ({used / max(1, self.events) * 1000:.1f} ms)"
            for part, used in self.cpu.items()
        )
        shares = (f"{self.rate:,.0f}", f"{self.rate / first.rate:.2f}")
        return [self.name, *shares, ", ".join(parts)]


@contextmanager
def _cpu(parts: Mapping[str, Sequence[int]]) -> Iterator[dict[str, float]]:
    """The CPU that parts (processes and all below them) have used when the block has ended."""
    before = {part: cpu_seconds(*pids) for part, pids in parts.items()}
    used: dict[str, float] = {}
    yield used
    used.update({part: cpu_seconds(*pids) - before[part] for part, pids in parts.items()})


def measure(*, brief: bool) -> list[str]:
    backlog = 200 if brief else BACKLOG
    with stores.store(stores.PostgresStore) as (store, directory), running() as outside:
        url = store.database("relay")
        rules = {name: (name,) for name in NAMES}
        environ = outside.configured(url, directory, rules)
        service.make_tables(environ)
        accepting = [_accepting(environ, url, count) for count in PROCESSES]
        with stores.connected(url) as connection:
            connection.execute("TRUNCATE webhook_events, sent_items CASCADE")
        sending = [_sending(environ, outside, count, backlog) for count in PROCESSES]
        weights = _weights(url)
        sending.append(_sending(environ, outside, 4, backlog, kinds=4))
    return [
        "## Processes",
        "",
        "On one PostgreSQL: web processes that accept from 64 connections, and workers that drain "
        f"a backlog of {backlog:,}. CPU is of cores, and for each event in brackets.",
        "",
        *_table(accepting),
        *_table(sending),
        "What PostgreSQL keeps of an event of 1 KB that was forwarded once: "
        + ", ".join(f"{name} {size:,.0f}" for name, size in weights.items())
        + f"; together {sum(weights.values()):,.0f} bytes, indexes included.",
        "",
    ]


def _table(stretches: Sequence[Stretch]) -> list[str]:
    rows = [each.row(stretches[0]) for each in stretches]
    return report.table(("", "a second", "to one", "CPU"), rows)


def _accepting(environ: Mapping[str, str], url: str, count: int) -> Stretch:
    hooks = Webhooks(kind=NAMES[0])
    with service.web(environ, processes=count) as web:
        closed_loop(web.port, hooks, seconds=1)
        with _cpu({"web": [web.pid], "PostgreSQL": [_server(url)]}) as cpu:
            load = closed_loop(web.port, hooks, seconds=SECONDS)
    return Stretch(f"{count} web", load.accepted, load.seconds, cpu)


def _sending(
    environ: Mapping[str, str], outside: Stubs, count: int, backlog: int, *, kinds: int = 1
) -> Stretch:
    names, server = NAMES[:kinds], _server(environ["DATABASE_URL"])
    with ExitStack() as opened:
        web = opened.enter_context(service.web(environ))
        for name in names:  # Paused, so that no worker has a start before the others.
            _operate(web, "POST", f"destinations/{name}/pause", reason="benchmark")
            closed_loop(web.port, Webhooks(kind=name), seconds=30, count=backlog // kinds)
        workers = [opened.enter_context(service.worker(environ)).pid for _ in range(count)]
        _await_workers(web, count)
        parts = {"workers": workers, "stubs": [outside.process.pid], "PostgreSQL": [server]}
        with _cpu(parts) as cpu:
            before, started = outside.count(), time.monotonic()
            for name in names:
                _operate(web, "POST", f"destinations/{name}/resume")
            outside.wait(before + backlog // kinds * kinds, timeout=4 * SECONDS)
            sent, seconds = outside.count() - before, time.monotonic() - started
        # None may be left for the next.
        outside.wait(before + backlog // kinds * kinds, timeout=30)
    name = f"{count} {'worker' if count == 1 else 'workers'}"
    return Stretch(name if kinds == 1 else f"{name}, {kinds} destinations", sent, seconds, cpu)


def _operate(web: service.Process, method: str, path: str, **body: str) -> requests.Response:
    headers = {"Authorization": f"Bearer {service.ADMIN_TOKEN}"}
    url = f"{web.url}/api/v1/{path}"
    answer = requests.request(method, url, json=body or None, headers=headers, timeout=10)
    answer.raise_for_status()
    return answer


def _await_workers(web: service.Process, count: int) -> None:
    deadline = time.monotonic() + 30
    while _operate(web, "GET", "status").json()["workers"] < count:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{count} workers did not start")
        time.sleep(0.1)


def _server(url: str) -> int:
    """The process of PostgreSQL that all others of it are below."""
    with stores.connected(url) as connection:
        return parent(connection.info.backend_pid)


def _weights(url: str) -> dict[str, float]:
    """Bytes of each table for a row, indexes, dead rows and free space included."""
    with stores.connected(url) as connection:
        return {
            name: connection.execute(
                f"SELECT pg_total_relation_size('{name}')::float / count(*) FROM {name}"  # noqa: S608
            ).fetchone()[0]
            for name in TABLES
        }
