"""Writes of many threads that share a transaction: each keeps its own success or failure.

A job is written down twice for each attempt, and every commit waits for the disk. What the threads
of a worker have to write at the same moment becomes one commit. This module must not know what is
written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from sqlalchemy import Connection

from app.db.grouping import GroupCommit
from app.errors import AppError, StorageUnavailable, WriteConflict

Result = TypeVar("Result")
Entry = TypeVar("Entry")
Verb = Callable[[Connection], Any]
# Writes many entries; returns an answer for each, in order: a result, or an `AppError`.
VerbForMany = Callable[[Connection, Sequence[Entry]], Sequence[Result | AppError]]
# A verb and what it is to write.
_Asked = tuple[VerbForMany[Any, Any], Any]
Transaction = Callable[[], AbstractContextManager[Connection]]


class SharedWrites:
    """Runs verbs within transactions that others may be in as well.

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

    def gather(self, verb: VerbForMany[Entry, Result], entry: Entry) -> Result:
        """Have `verb` write `entry`, in one call with what the others have for the same verb."""
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
