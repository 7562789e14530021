"""What a web and a worker process have in memory, at rest and after many events, and their start.

100,000 events take minutes through one door or one worker, so by default both work for a bounded
time, and the table says how many events that were. In the first half of it caches, pools and
threads come to their size; a leak is what every event leaves, so it shows in the second half.
Nothing is reckoned beyond what was done: `--events 100000` does all of them.

    .venv/bin/python -m tools.benchmarks.memory [--events 100000]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tools.benchmarks import service, world
from tools.benchmarks.backlog import fill
from tools.benchmarks.figures import spread, table, verdict
from tools.benchmarks.load import Webhooks, counted
from tools.benchmarks.machine import private, resident
from tools.drill.stores import SqliteStore, free_port

EVENTS = 100_000
# How long each of the two is kept at work unless all events are asked for, in seconds.
SECONDS = 8.0
# A worker is given so many at a time.
PORTION = 500
STARTS = 3

MOST_MB = 90.0
MOST_GROWTH = 0.10
HELP_WITHIN = 0.4
SERVE_WITHIN = 3.0


@dataclass(frozen=True)
class Size:
    """One process's memory in MB: at rest, half way and at the end, with the events until then."""

    name: str
    rest: tuple[float, float]
    half: tuple[int, float]
    end: tuple[int, float]
    private: float

    @property
    def growth(self) -> float:
        """The share that it gained in the second half."""
        return self.end[1] / self.half[1] - 1

    def row(self) -> list[str]:
        reached = self.end[1] <= MOST_MB and self.growth <= MOST_GROWTH
        return [
            self.name,
            *(f"{each:.1f}" for each in self.rest),
            *(f"{size:.1f} ({done:,})" for done, size in (self.half, self.end)),
            f"{self.private:.1f}",
            f"{self.growth:+.1%}",
            verdict(reached) + ("" if self.end[0] >= EVENTS else " so far"),
        ]


def measure(events: int | None = None) -> list[str]:
    starts = _starts()
    with tempfile.TemporaryDirectory(prefix="dc-relay-") as folder, world.running() as outside:
        sizes = [_web(Path(folder), outside, events), _worker(Path(folder), outside, events)]
    return _section(starts, sizes)


def _database(folder: Path, name: str) -> str:
    place = folder / name
    place.mkdir()
    url = SqliteStore(place).url
    service.make_tables(url)
    return url


def _web(folder: Path, outside: world.World, events: int | None) -> Size:
    environ = outside.environment(_database(folder, "web"))
    hooks = Webhooks(secret=service.SECRET, size=1000)
    with service.web(environ) as door:
        serving = door.tree()[1]

        def work(count: int, seconds: float) -> int:
            return counted(door.port, hooks, count=count, seconds=seconds).answers[202]

        return _size("web", serving, work, events)


def _worker(folder: Path, outside: world.World, events: int | None) -> Size:
    environ = outside.environment(_database(folder, "worker"))
    hooks = Webhooks(secret=service.SECRET, size=1000)
    with service.worker(environ) as worker:
        before = outside.count()
        done = 0

        def work(count: int, seconds: float) -> int:
            nonlocal done
            end, start = time.monotonic() + seconds, done
            while done - start < count and time.monotonic() < end:
                # In portions: what the worker did not get to is no part of it.
                fill(environ, hooks, min(PORTION, count))
                outside.wait(before + hooks.number, end - time.monotonic())
                done = outside.count() - before
            return done - start

        return _size("worker", worker.popen.pid, work, events)


def _size(name: str, pid: int, work: Callable[[int, float], int], events: int | None) -> Size:
    time.sleep(2)
    rest = resident(pid), private(pid)
    seconds = SECONDS / 2 if events is None else 3600
    count = (events or EVENTS) // 2
    done = work(count, seconds)
    half = done, resident(pid)
    done += work(count, seconds)
    return Size(name, rest, half, (done, resident(pid)), private(pid))


def _starts() -> list[list[str]]:
    """How long programs take to start, each several times in turn with the others."""
    programs = {
        "`python -c pass`": ("-c", "pass"),
        "`python -c 'import flask'`": ("-c", "import flask"),
        "`dc-relay --help`": ("-m", "app", "--help"),
    }
    taken: dict[str, list[float]] = {name: [] for name in programs}
    serve: list[float] = []
    for _ in range(STARTS):
        for name, arguments in programs.items():
            taken[name].append(_seconds_of(arguments))
    for _ in range(3):
        serve.append(_serves())
    targets = {"`dc-relay --help`": HELP_WITHIN, "`dc-relay serve`, until `/healthz`": SERVE_WITHIN}
    taken["`dc-relay serve`, until `/healthz`"] = serve
    return [
        [
            name,
            spread(seconds, 2, " s"),
            f"{targets[name]} s: {verdict(sorted(seconds)[len(seconds) // 2] <= targets[name])}"
            if name in targets
            else "",
        ]
        for name, seconds in taken.items()
    ]


def _seconds_of(arguments: tuple[str, ...]) -> float:
    started = time.monotonic()
    subprocess.run(
        (sys.executable, *arguments), cwd=service.ROOT, check=True, stdout=subprocess.DEVNULL
    )
    return time.monotonic() - started


def _serves() -> float:
    """The seconds from the start of `dc-relay serve` on a new database to its first answer."""
    with tempfile.TemporaryDirectory(prefix="dc-relay-") as folder:
        environ = service.environment(SqliteStore(Path(folder)).url)
        port = free_port()
        started = time.monotonic()
        with service.started(
            ("-m", "app", "serve"), {**environ, "PORT": str(port)}, port
        ) as process:
            service.wait_for(process, f"{process.url}/healthz")
            return time.monotonic() - started


def _section(starts: list[list[str]], sizes: list[Size]) -> list[str]:
    head = (
        "process",
        "at rest",
        "of it private",
        "half way (events)",
        "at the end (events)",
        "of it private",
        "growth from half way",
        "target",
    )
    return [
        "## Memory and start",
        "",
        "`tools/benchmarks/memory.py`: resident size (VmRSS) in MB, on SQLite; what is private would be "
        f"given back at the end of the process. {EVENTS:,} events are more than fit here: without "
        f"`--events {EVENTS}` each process works for {SECONDS:.0f} s, and the target is judged for "
        f"as many as it did. To reach: at most {MOST_MB:.0f} MB, and {MOST_GROWTH:.0%} of growth "
        "from half way on.",
        "",
        *table(head, [each.row() for each in sizes]),
        *table(("start", "time", "to reach"), starts),
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, help="do so many, however long it takes")
    print("\n".join(measure(parser.parse_args().events)))


if __name__ == "__main__":
    main()
