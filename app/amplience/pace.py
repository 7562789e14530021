"""Keeps the threads of one process to a rate of calls, by short waits.

For a limit that is high and forgiving only: a thread waits in it, so what it takes longer to come
by belongs into the queue.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock


class Pace:
    """At most `burst` calls at once, and `per_second` on average.

    The longest wait is the number of waiting threads divided by the rate.
    """

    def __init__(
        self,
        per_second: float,
        burst: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._gap = 1 / per_second
        self._ahead = (burst - 1) * self._gap
        self._clock = clock
        self._sleep = sleep
        self._next = 0.0
        self._lock = Lock()

    def wait(self) -> None:
        """Return when the caller may make one call."""
        with self._lock:
            now = self._clock()
            due = max(self._next, now)
            self._next = due + self._gap
        pause = due - self._ahead - now
        if pause > 0:
            self._sleep(pause)
