"""What the machine is, and what its processes take, as Linux tells in /proc."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tools.benchmarks.service import ROOT
from tools.drill.stores import programs

_TICKS = os.sysconf("SC_CLK_TCK")


def described() -> str:
    """The machine and what is installed on it, in a line."""
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    cores = len(os.sched_getaffinity(0))
    parts = (
        f"{_processor()}, {cores} cores",
        f"{int(memory[1]) / 2**20:.0f} GiB of memory" if memory else "memory unknown",
        f"Linux {platform.release()}",
        f"Python {platform.python_version()}",
        f"SQLite {sqlite3.sqlite_version}",
        _postgres(),
    )
    return "; ".join(parts)


def _processor() -> str:
    named = re.search(r"model name\s+: (.+)", Path("/proc/cpuinfo").read_text())
    return named[1] if named else platform.machine()


def _postgres() -> str:
    told = subprocess.run(
        (programs() / "postgres", "--version"), capture_output=True, text=True, check=True
    )
    version = re.search(r"[0-9.]+", told.stdout)
    return f"PostgreSQL {version[0] if version else 'unknown'}"


def commit() -> str:
    """The commit that is measured; with a plus sign where the folder holds changes beside it."""
    found = subprocess.run(
        ("git", "describe", "--always", "--dirty=+", "--exclude=*"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or "unknown"


def family(pid: int) -> list[int]:
    """A process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [pid, *map(int, children.split())]


def resident(pid: int) -> float:
    """VmRSS of a process, in MB."""
    return _kilobytes(f"/proc/{pid}/status", "VmRSS") / 1000 * 1.024


def private(pid: int) -> float:
    """What a process alone has in memory, in MB: what it would give back at its end."""
    place = f"/proc/{pid}/smaps_rollup"
    return sum(_kilobytes(place, f"Private_{kind}") for kind in ("Clean", "Dirty")) / 1000 * 1.024


def _kilobytes(place: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path(place).read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


def seconds_of(pids: Iterable[int]) -> float:
    """The processor time that these processes and their ended children have used."""
    return sum(map(_seconds, pids))


def _seconds(pid: int) -> float:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    # The name in brackets may hold blanks; utime, stime and those of ended children follow it.
    return sum(map(int, stat.rpartition(")")[2].split()[11:15])) / _TICKS


class Shares:
    """How much processor time some groups of processes use while the block runs, in seconds.

    A group is asked for again at the end, because processes come and go; who ended meanwhile is
    counted by its parent, so a group holds that as well.
    """

    def __init__(self, groups: Mapping[str, Callable[[], Iterable[int]]]) -> None:
        self._groups = groups
        self._before: dict[str, float] = {}
        self.used: dict[str, float] = {}

    def __enter__(self) -> Shares:
        self._before = {name: seconds_of(pids()) for name, pids in self._groups.items()}
        return self

    def __exit__(self, *_: object) -> None:
        for name, pids in self._groups.items():
            self.used[name] = seconds_of(pids()) - self._before[name]


def parent(pid: int) -> int:
    """The process that started this one."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
