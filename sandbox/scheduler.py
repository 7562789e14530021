"""Runs things a little later, on one thread, in the order they fall due.

Localization and publishing are asynchronous in Amplience; this is what makes them so here. It
follows the real clock, because tests and demos wait for it in real time.
"""

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Scheduler:
    """A heap of tasks and the thread that runs them."""

    def __init__(self) -> None:
        self._tasks: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._wake = threading.Condition()
        self._closed = False
        self._running = False
        self._thread = threading.Thread(target=self._run, name="sandbox-scheduler", daemon=True)
        self._thread.start()

    def later(self, seconds: float, task: Callable[[], None]) -> None:
        """Run `task` after so many seconds."""
        with self._wake:
            heapq.heappush(self._tasks, (time.monotonic() + seconds, next(self._numbers), task))
            self._wake.notify_all()

    @property
    def busy(self) -> bool:
        """Whether a task is waiting or running."""
        with self._wake:
            return self._running or bool(self._tasks)

    def clear(self) -> None:
        """Drop every task that has not begun."""
        with self._wake:
            self._tasks.clear()

    def close(self) -> None:
        """Drop what is waiting and end the thread."""
        with self._wake:
            self._tasks.clear()
            self._closed = True
            self._wake.notify_all()
        self._thread.join()

    def _next(self) -> Callable[[], None] | None:
        with self._wake:
            self._running = False
            while not self._closed:
                if not self._tasks:
                    self._wake.wait()
                    continue
                wait = self._tasks[0][0] - time.monotonic()
                if wait <= 0:
                    self._running = True
                    return heapq.heappop(self._tasks)[2]
                self._wake.wait(wait)
        return None

    def _run(self) -> None:
        while (task := self._next()) is not None:
            try:
                task()
            except Exception:
                logger.exception("sandbox task failed")
