"""Writes that share a transaction: one commit, and each caller its own success or failure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, func, insert, select, update

from app.db import Storage
from app.db.group_commit import SharedWrites
from app.db.tables import marks
from app.errors import JobLost

Verb = Callable[[Connection], str]


def note(name: str) -> Verb:
    def verb(connection: Connection) -> str:
        connection.execute(insert(marks).values(name=name, value={}, updated_at=0))
        return name

    return verb


def names(storage: Storage) -> list[str]:
    with storage.read() as connection:
        return list(connection.execute(select(marks.c.name).order_by(marks.c.name)).scalars())


def at_once(storage: Storage, *verbs: Verb) -> list[str | BaseException]:
    """What became of verbs that are certain to be one group: they wait behind one that waits."""
    begun, go_on = threading.Event(), threading.Event()

    def first(connection: Connection) -> str:
        begun.set()
        assert go_on.wait(5)
        return str(connection.execute(select(func.count()).select_from(marks)).scalar_one())

    with ThreadPoolExecutor(len(verbs) + 1) as threads:
        leading = threads.submit(storage.shared_write, first)
        assert begun.wait(5)
        asked = [threads.submit(storage.shared_write, verb) for verb in verbs]
        group = storage._shared._group
        while len(group._line) < len(verbs):
            time.sleep(0.001)
        go_on.set()
        leading.result(5)
        return [one.exception(5) or one.result() for one in asked]


def test_verbs_that_wait_together_are_one_commit(storage: Storage) -> None:
    commits: list[int] = []
    write = storage.write

    def counted() -> object:
        commits.append(1)
        return write()

    storage._shared = SharedWrites(counted, timeout=5)  # type: ignore[arg-type]
    assert at_once(storage, note("a"), note("b"), note("c")) == ["a", "b", "c"]
    assert len(commits) == 2
    assert names(storage) == ["a", "b", "c"]


def test_verb_that_refuses_harms_no_other(storage: Storage) -> None:
    def lost(_: Connection) -> str:
        raise JobLost("job 1: attempt 1 lost its lease")

    first, refused, last = at_once(storage, note("a"), lost, note("b"))
    assert (first, last) == ("a", "b")
    assert isinstance(refused, JobLost)
    assert names(storage) == ["a", "b"]


def test_value_that_the_database_refuses_harms_no_other(storage: Storage) -> None:
    storage.shared_write(note("known"))
    first, refused, last = at_once(storage, note("a"), note("known"), note("b"))
    assert (first, last) == ("a", "b")
    assert "UNIQUE" in str(refused).upper()
    assert names(storage) == ["a", "b", "known"]


def test_value_that_cannot_be_bound_harms_no_other(storage: Storage) -> None:
    first, refused, last = at_once(storage, note("a"), note("\ud800"), note("b"))
    assert (first, last) == ("a", "b")
    assert isinstance(refused, UnicodeError)


def test_group_that_met_a_deadlock_is_written_one_by_one(storage: Storage) -> None:
    if storage.is_sqlite:
        pytest.skip("SQLite has one writer")
    for name in ("a", "b"):
        storage.shared_write(note(name))

    def touch(name: str) -> Verb:
        def verb(connection: Connection) -> str:
            connection.execute(update(marks).where(marks.c.name == name).values(updated_at=1))
            return name

        return verb

    with storage.engine.begin() as other, ThreadPoolExecutor(1) as threads:
        touch("b")(other)
        ours = threads.submit(at_once, storage, touch("a"), touch("b"))
        # The group has a and waits for b: it is the first to wait, so PostgreSQL ends it.
        time.sleep(0.5)
        touch("a")(other)
        other.commit()
        assert ours.result(10) == ["a", "b"]
