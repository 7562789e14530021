"""Group commit: writes that wait at the same moment share one transaction.

A commit costs a write to disk whether it holds one event or sixty. One thread per process gathers
the waiting entries, writes them, and wakes each caller with its own answer. A caller is answered
only after its own commit, and never waits longer than its timeout: when the database hangs, the
caller gets `StorageUnavailable`, and should the commit succeed later all the same, a repeat finds
the entry stored.

`SharedWrites` builds on it: functions that different threads call share a transaction, and each
keeps its own success or failure.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection

from app.errors import AppError, StorageUnavailable, WriteConflict

Entry = TypeVar("Entry")
Answer = TypeVar("Answer")

# While the line grows, a group waits for more: so often it looks, and so long at the most.
_POLL = 0.001
_LONGEST_WAIT = 0.008


class _Waiting(Generic[Entry, Answer]):
    """One entry in the line, and the thread that waits for its answer."""

    __slots__ = ("answer", "answered", "entry", "following", "gate", "given_up")

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.answer: Answer | Exception | None = None
        self.answered = self.given_up = False
        self.following: _Waiting[Entry, Answer] | None = None
        # A bare lock: much cheaper than an event, and this is made for every webhook.
        self.gate = threading.Lock()
        self.gate.acquire()


class GroupCommit(Generic[Entry, Answer]):
    """Writes entries through `write`, in groups of at most `most`.

    `write` takes the entries of a group and returns an answer for each, in order; an answer that
    is an exception is raised to its caller. The thread starts with the first entry, so that it
    belongs to the process that serves, not to one that forked. `timeout` bounds a caller's wait,
    in seconds; `waiting` bounds the line, so that a hanging database does not gather callers
    without end.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Entry]], Sequence[Answer | Exception]],
        *,
        most: int = 64,
        timeout: float = 1.6,
        waiting: int = 1000,
    ) -> None:
        self._write = write
        self._most = most
        self._timeout = timeout
        self._limit = waiting
        self._line: deque[_Waiting[Entry, Answer]] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._idle = False
        self._closed = False
        self._writing_since: float | None = None
        self._last = 0

    def commit(self, entry: Entry) -> Answer:
        """Write one entry; returns its answer after its commit.

        Raises `StorageUnavailable` when it was not written in time, or whatever `write` raised or
        answered.
        """
        waiting: _Waiting[Entry, Answer] = _Waiting(entry)
        with self._changed:
            if self._closed or self._stuck() or len(self._line) >= self._limit:
                raise StorageUnavailable("too many writes are waiting for the database")
            self._line.append(waiting)
            self._start()
            if self._idle:
                self._changed.notify()
        if not waiting.gate.acquire(timeout=self._timeout):
            self._give_up(waiting)
        if waiting.following is not None:
            waiting.following.gate.release()
        answer = waiting.answer
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[return-value]  # it has been answered

    def close(self) -> None:
        """Write what is waiting, then end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread:
            self._thread.join(self._timeout + 5)

    def _give_up(self, waiting: _Waiting[Entry, Answer]) -> None:
        with self._changed:
            if waiting.answered:
                return  # it came at this very moment, and others come after it
            waiting.given_up = True
        raise StorageUnavailable("the database did not answer in time")

    def _stuck(self) -> bool:
        """Tell whether the database has kept one group for longer than a caller may wait.

        Then there is no use in waiting as well: the caller is told at once, and its thread stays
        free.
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
            answers: Sequence[Answer | Exception]
            try:
                answers = self._write([waiting.entry for waiting in group])
            except Exception as error:  # noqa: BLE001 - each caller must be answered
                answers = [error] * len(group)
            finally:
                self._writing_since = None
            self._deliver(group, answers)

    def _deliver(
        self, group: Sequence[_Waiting[Entry, Answer]], answers: Sequence[Answer | Exception]
    ) -> None:
        """Set each caller's answer, and wake the first caller, which wakes the next.

        Waking all of them at once causes contention for the interpreter's lock.
        """
        with self._changed:
            left = []
            for waiting, answer in zip(group, answers, strict=True):
                if not waiting.given_up:
                    waiting.answer, waiting.answered = answer, True
                    left.append(waiting)
            for waiting, following in itertools.pairwise(left):
                waiting.following = following
        if left:
            left[0].gate.release()

    def _next_group(self) -> list[_Waiting[Entry, Answer]]:
        """Wait for entries; an empty list means the end. Who gave up waiting is left out."""
        while True:
            with self._changed:
                self._idle = True
                self._changed.wait_for(lambda: self._line or self._closed)
                self._idle = False
                if not self._line:
                    return []
            self._wait_for_more()
            taken = [self._line.popleft() for _ in range(min(self._most, len(self._line)))]
            if group := [waiting for waiting in taken if not waiting.given_up]:
                self._last = len(group)
                return group

    def _wait_for_more(self) -> None:
        """Under load, wait for callers that are about to arrive.

        Their threads run while this one sleeps; a group that begins with the first of them would
        leave the rest to the next one. Who comes alone is written at once.
        """
        end = time.monotonic() + _LONGEST_WAIT
        length = 0
        while self._last > 1 and length < len(self._line) < self._most:
            length = len(self._line)
            if time.monotonic() > end:
                return
            time.sleep(_POLL)


Result = TypeVar("Result")
Verb = Callable[[Connection], Any]
# Writes many entries; returns an answer for each, in order: a result, or an `AppError`.
VerbForMany = Callable[[Connection, Sequence[Entry]], Sequence[Result | AppError]]
# A verb and what it is to write.
_Asked = tuple[VerbForMany[Any, Any], Any]
Transaction = Callable[[], AbstractContextManager[Connection]]


class SharedWrites:
    """Runs verbs in transactions that they share with those of other threads.

    A verb may be run twice, in a transaction of its own the second time, when another one of its
    group broke the first: it must do nothing but use the connection.
    """

    def __init__(self, transaction: Transaction, *, timeout: float) -> None:
        self._transaction = transaction
        self._group: GroupCommit[_Asked, Any] = GroupCommit(self._write, timeout=timeout)

    def run(self, verb: Callable[[Connection], Result]) -> Result:
        """Run `verb`; returns what it returned, after the commit, or raises what it raised."""
        result: Result = self._group.commit((_each, verb))
        return result

    def run_batched(self, verb: VerbForMany[Entry, Result], entry: Entry) -> Result:
        """Write `entry` with `verb`, in one call with the other entries for the same verb."""
        result: Result = self._group.commit((verb, entry))
        return result

    def close(self) -> None:
        """Finish what has begun, and end the thread."""
        self._group.close()

    def _write(self, asked: Sequence[_Asked]) -> list[Any]:
        try:
            with self._transaction() as connection:
                return _answers(connection, asked)
        except StorageUnavailable as error:
            if not isinstance(error, WriteConflict):
                raise
        except Exception:  # noqa: BLE001, S110 - it is raised again to the one whose it is
            pass
        # A value that cannot be written, or a deadlock: only one of them is at fault.
        return [self._alone(one) for one in asked]

    def _alone(self, asked: _Asked) -> Any:
        try:
            with self._transaction() as connection:
                [answer] = _answers(connection, [asked])
                return answer
        except Exception as error:  # noqa: BLE001 - the answer to its caller, who raises it
            return error


def _answers(connection: Connection, asked: Sequence[_Asked]) -> list[Any]:
    """Call each verb once, with all that was asked of it; the answers, in the order of `asked`."""
    places: dict[VerbForMany[Any, Any], list[int]] = {}
    for place, (verb, _) in enumerate(asked):
        places.setdefault(verb, []).append(place)
    answers: list[Any] = [None] * len(asked)
    for verb, its in places.items():
        told = verb(connection, [asked[place][1] for place in its])
        for place, answer in zip(its, told, strict=True):
            answers[place] = answer
    return answers


def _each(connection: Connection, verbs: Sequence[Verb]) -> list[Any]:
    return [_answer(verb, connection) for verb in verbs]


def _answer(verb: Verb, connection: Connection) -> Any:
    try:
        return verb(connection)
    except AppError as error:
        # A verb refuses before it writes, so the others may go on.
        return error
