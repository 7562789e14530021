"""What it costs that 100,000 jobs wait for an hour from now: idle CPU, memory, and dispatch.

Two services run side by side on each kind of database, one with an empty ledger and one whose
ledger holds the waiting jobs, for four destinations. First nothing happens for a while, and what
the two workers use is read from /proc. Then items are published to the one and to the other by
turns; what counts is the ledger's own time from the event's arrival to the job's end, pull and
send to a sandbox on loopback included.

    .venv/bin/python -m tools.benchmarks.waiting
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import requests
from sqlalchemy import text

from app.cli.sandbox import settings as sandbox_settings
from app.sandbox import SandboxOptions, SandboxServer
from app.signature import HEADER, sign
from app.storage import Storage
from tools.benchmarks import service
from tools.benchmarks.filling import fill_waiting
from tools.benchmarks.growth import beside

JOBS = 100_000
IDLE_SECONDS = 10
# A new worker imports, connects, and looks at everything once.
SETTLE_SECONDS = 6
PUBLISHES = 50
MOST_CPU, MOST_MEMORY = 0.02, 1.10
_PLACES = ("search", "mail", "shop", "default")
_DESTINATION = """
[destinations.{name}]
url = "{url}/downstream/{name}"
allow_private = true
"""
_RULE = """
[[rules]]
name = "forward"
events = ["dynamic-content.snapshot.published"]
action = "forward"
to = ["default"]
"""


@dataclass(frozen=True)
class Running:
    """One service at work on a database, and whether that has the waiting jobs."""

    storage: Storage
    web: service.Process
    worker: service.Process

    def cpu(self) -> float:
        """The seconds of CPU that the worker has used."""
        fields = Path(f"/proc/{self.worker.popen.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """The worker's own and its part of the shared memory (PSS), in MiB."""
        lines = Path(f"/proc/{self.worker.popen.pid}/smaps_rollup").read_text().splitlines()
        found = next(line for line in lines if line.startswith("Pss:"))
        return int(found.split()[1]) / 1024


@dataclass(frozen=True)
class Idle:
    """What one worker used while nothing happened (`cpu` of a core), and its dispatch in ms."""

    cpu: float
    memory: float
    dispatch: list[float]

    @property
    def middle(self) -> float:
        return statistics.median(self.dispatch)


def measure() -> list[str]:
    found: dict[str, tuple[Idle, Idle]] = {}
    with service.databases() as stores, sandbox() as amplience:
        for store in stores:
            full = beside(store.url)
            service.make_tables(full)
            with opened(full) as storage:
                fill_waiting(storage, JOBS, time.time_ns() // 1_000_000, _PLACES)
            with (
                running(store.url, amplience) as without,
                running(full, amplience) as waiting,
            ):
                found[store.name] = compare(without, waiting, amplience)
    return [*_lines(found), _verdict(found), ""]


def _lines(found: dict[str, tuple[Idle, Idle]]) -> Iterator[str]:
    yield "## Waiting is free"
    yield ""
    yield (
        "`tools/benchmarks/waiting.py`: "
        f"{JOBS:,} jobs for four destinations wait for an hour from now; beside it the same with an"
        f" empty ledger. The worker's CPU over {IDLE_SECONDS} idle seconds, its memory (PSS) after"
        f" them, and the median time from an event's arrival to its job's end, {PUBLISHES} each by"
        " turns."
    )
    yield ""
    yield "| | empty | 100,000 waiting | ratio |"
    yield "| --- | ---: | ---: | ---: |"
    for store, (a, b) in found.items():
        yield f"| {store}: CPU of a core | {a.cpu:.1%} | {b.cpu:.1%} | {b.cpu / a.cpu:.2f} |"
        memory = f"{a.memory:.1f} MiB | {b.memory:.1f} MiB | {b.memory / a.memory:.2f}"
        yield f"| {store}: memory | {memory} |"
        took = f"{a.middle:.1f} ms | {b.middle:.1f} ms | {b.middle / a.middle:.2f}"
        yield f"| {store}: webhook to finished job | {took} |"
    yield ""


def _verdict(found: dict[str, tuple[Idle, Idle]]) -> str:
    missed = [
        what
        for store, (empty, full) in found.items()
        for what, well in (
            (f"CPU on {store}", full.cpu <= MOST_CPU),
            (f"memory on {store}", full.memory <= MOST_MEMORY * empty.memory),
            (f"dispatch on {store}", full.middle <= 1.2 * empty.middle),
        )
        if not well
    ]
    asked = f"At most {MOST_CPU:.0%} of a core, memory within 10 %, dispatch within 1.2 times"
    return f"{asked}: {'not met: ' + ', '.join(missed) if missed else 'all met'}."


@contextlib.contextmanager
def sandbox() -> Iterator[SandboxServer]:
    options = SandboxOptions(publish_delay=0, publish_quota_per_minute=100_000)
    with SandboxServer(options) as server:
        yield server


@contextlib.contextmanager
def opened(url: str) -> Iterator[Storage]:
    storage = Storage(url.replace("postgresql://", "postgresql+psycopg://"), timeout=600)
    yield storage
    storage.close()


@contextlib.contextmanager
def running(url: str, amplience: SandboxServer) -> Iterator[Running]:
    wanted = sandbox_settings(amplience.url, amplience.state.options, service.SECRET)
    with tempfile.TemporaryDirectory() as folder:
        places = [_DESTINATION.format(name=name, url=amplience.url) for name in _PLACES]
        config = Path(folder, "relay.toml")
        config.write_text("".join(places) + _RULE)
        environ = service.environment(url, **wanted, RELAY_CONFIG=str(config))
        for name in ("FORWARD_URL", "FORWARD_ALLOW_PRIVATE"):
            del environ[name]
        with (
            service.web(environ) as web,
            service.worker(environ) as worker,
            opened(url) as storage,
        ):
            yield Running(storage, web, worker)


def compare(empty: Running, full: Running, amplience: SandboxServer) -> tuple[Idle, Idle]:
    pair = (empty, full)
    time.sleep(SETTLE_SECONDS)
    before, started = [each.cpu() for each in pair], time.monotonic()
    time.sleep(IDLE_SECONDS)
    took = time.monotonic() - started
    used = [(each.cpu() - then) / took for each, then in zip(pair, before, strict=True)]
    memory = [each.memory() for each in pair]
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(-3, PUBLISHES):  # the first ones open connections
        for which in (0, 1) if turn % 2 else (1, 0):
            spent = dispatched(pair[which], published(amplience))
            if turn >= 0:
                times[which].append(spent)
    first, second = (Idle(used[n], memory[n], times[n]) for n in (0, 1))
    return first, second


def published(amplience: SandboxServer) -> str:
    """Publish a new item; nobody is told but by us."""
    repository = amplience.state.options.repositories[0].id
    body = {"_meta": {"name": "banner", "schema": "https://schema.example/banner"}}
    item = amplience.content.create(repository, label="Banner", body=body)
    amplience.content.publish(item.id)
    amplience.settle()
    return item.id


def dispatched(at: Running, item_id: str) -> float:
    """Send the webhook, and return how long the ledger had its event until the job was done."""
    event_id = str(uuid.uuid4())
    payload = {
        "id": uuid.uuid4().hex[:24],
        "createdDate": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
        "rootContentItem": {
            "id": item_id,
            "label": "Banner",
            "contentTypeUri": "https://schema.example/banner",
        },
    }
    name = "dynamic-content.snapshot.published"
    body = json.dumps({"name": name, "payload": payload, "requestId": "r", "id": event_id}).encode()
    answer = requests.post(
        f"{at.web.url}/webhooks",
        data=body,
        headers={HEADER: sign(body, service.SECRET), "Content-Type": "application/json"},
        timeout=10,
    )
    assert answer.status_code == 202, answer.text
    return _time_to_end(at.storage, event_id)


def _time_to_end(storage: Storage, event_id: str) -> float:
    ended = text(
        "SELECT j.state, j.finished_at - e.received_at FROM webhook_events AS e"
        " JOIN jobs AS j ON j.event = e.id WHERE e.event_id = :id AND e.hub = 'main'"
    )
    for _ in range(1000):
        time.sleep(0.01)
        with storage.read() as connection:
            state, took = connection.execute(ended, {"id": event_id}).one()
        if took is not None:
            assert state == "succeeded", state
            return float(took)
    raise AssertionError("the job did not end")


def main() -> None:
    print("\n".join(measure()))


if __name__ == "__main__":
    main()
