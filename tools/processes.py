"""What Linux tells in /proc of processes: which run, and what they use."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
# Positions in /proc/PID/stat after the name in brackets, which may hold blanks.
_STATE, _PARENT, _UTIME, _START = 0, 1, 11, 19


def _stat(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for does not."""
    fields = _stat(pid)
    return bool(fields) and fields[_STATE] not in "ZX"


def start_of(pid: int) -> str:
    """When a process started, in the kernel's ticks: tells two uses of one pid apart."""
    return (_stat(pid) or [""] * (_START + 1))[_START]


def parent(pid: int) -> int:
    """The process that started this one."""
    return int(_stat(pid)[_PARENT])


def descendants(pid: int) -> set[int]:
    """The processes below one."""
    below: dict[int, set[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            below.setdefault(int(fields[_PARENT]), set()).add(int(entry.name))
    found: set[int] = set()
    level = {pid}
    while level:
        level = {child for above in level for child in below.get(above, set())} - found
        found |= level
    return found


def cpu_seconds(*tops: int) -> float:
    """The processor time of processes and all below them; of those that ended, too."""
    pids = {pid for top in tops for pid in (top, *descendants(top))}
    return sum(map(_seconds, pids))


def _seconds(pid: int) -> float:
    fields = _stat(pid)
    # utime, stime, and those of children that ended.
    return sum(map(int, fields[_UTIME : _UTIME + 4])) / _TICKS


def resident_mb(pid: int) -> float:
    """VmRSS of a process, in MB."""
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 / 1_000_000 if found else 0.0
