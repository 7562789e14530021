"""Group commit: webhooks that wait at the same moment share one transaction.

A commit costs a write to disk whether it holds one event or sixty. One thread per process gathers
what is waiting, writes it, and wakes each request with its own answer. A request is answered only
after its own commit, and never waits longer than its bound: when the database hangs it is told so,
and should the commit succeed later all the same, the sender's repeat is found to be a duplicate.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout

from app.errors import StorageUnavailable, WebhookRejected
from app.events import WebhookEvent
from app.ledger.accepting import Accepted, Batch
from app.rules import Plan

Entry = tuple[WebhookEvent, Sequence[Plan]]
Answer = Accepted | WebhookRejected
_Waiting = tuple[Entry, "Future[Answer]"]


class GroupCommit:
    """Accepts events through `write`, in groups of at most `most`.

    The thread starts with the first event, so that it belongs to the process that serves, not to
    one that forked. `timeout` bounds a request's wait, in seconds; `waiting` bounds the line, so
    that a hanging database does not gather requests without end.
    """

    def __init__(
        self,
        write: Callable[[Batch], list[Answer]],
        *,
        most: int = 64,
        timeout: float = 1.6,
        waiting: int = 1000,
    ) -> None:
        self._write = write
        self._most = most
        self._timeout = timeout
        self._limit = waiting
        self._line: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._writing_since: float | None = None

    def accept(self, event: WebhookEvent, plans: Sequence[Plan]) -> Accepted:
        """Write one event; returns after its commit.

        Raises `StorageUnavailable` when it was not written in time, `WebhookRejected` when the
        database cannot hold it.
        """
        future: Future[Answer] = Future()
        with self._changed:
            if self._closed or self._stuck() or len(self._line) >= self._limit:
                raise StorageUnavailable("too many webhooks are waiting for the database")
            self._line.append(((event, plans), future))
            self._start()
            self._changed.notify()
        try:
            answer = future.result(self._timeout)
        except FutureTimeout:
            future.cancel()
            raise StorageUnavailable("the database did not answer in time") from None
        if isinstance(answer, WebhookRejected):
            raise answer
        return answer

    def close(self) -> None:
        """Write what is waiting, then end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread:
            self._thread.join(self._timeout + 5)

    def _stuck(self) -> bool:
        """Tell whether the database has kept one group for longer than a request may wait.

        Then there is no use in waiting as well: the sender is told at once, and the threads that
        serve stay free.
        """
        since = self._writing_since
        return since is not None and time.monotonic() - since > self._timeout

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while group := self._next_group():
            self._writing_since = time.monotonic()
            try:
                answers = self._write([entry for entry, _ in group])
            except Exception as error:  # noqa: BLE001 - each waiting request must be answered
                for _, future in group:
                    future.set_exception(error)
            else:
                for (_, future), answer in zip(group, answers, strict=True):
                    future.set_result(answer)
            finally:
                self._writing_since = None

    def _next_group(self) -> list[_Waiting]:
        """Wait for events; an empty list means the end. Who gave up waiting is left out."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._line or self._closed)
                if not self._line:
                    return []
                count = min(self._most, len(self._line))
                taken = [self._line.popleft() for _ in range(count)]
            group = [entry for entry in taken if entry[1].set_running_or_notify_cancel()]
            if group:
                return group
