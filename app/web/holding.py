"""Holds a web process to one processor, and to another one each minute.

Python runs one thread at a time, so a process of many threads never needs more. Spread over several
processors, each hand-over of its lock wakes another one, which costs a busy door two fifths of its
time (docs/benchmarks.md). Moving on each minute keeps two processes that chose the same one, or
one and something else that is busy, from staying together. This module must not know what is
served.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

# Linux lists the threads of a process here; each has its own set of processors.
_THREADS = Path("/proc/self/task")
_EVERY = 60


def chosen(allowed: Sequence[int], *, place: int, shared: int, period: int) -> int:
    """The processor of the process that has this place among its siblings, in this period. Pure.

    As long as there are enough, siblings whose places follow each other get different ones;
    `shared` is a number that they share and others do not.
    """
    first = random.Random(shared + period).randrange(len(allowed))  # noqa: S311 - no secret
    return allowed[(first + place) % len(allowed)]


def hold(*, place: int, shared: int) -> None:
    """Hold this process, and go on doing so, unless it has one processor or Linux forbids it.

    Threads that are made later inherit it from the one that makes them.
    """
    if not _THREADS.is_dir():
        return
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) == 1:
        return

    def repeat() -> None:
        # Processors may be taken from us while we run; then the kernel says where we are.
        with suppress(OSError):
            while True:
                period = int(time.time() // _EVERY)
                _move({chosen(allowed, place=place, shared=shared, period=period)})
                time.sleep(_EVERY)

    threading.Thread(target=repeat, name="hold", daemon=True).start()


def _move(processors: set[int]) -> None:
    for thread in os.listdir(_THREADS):
        with suppress(ProcessLookupError):  # it has ended
            os.sched_setaffinity(int(thread), processors)
