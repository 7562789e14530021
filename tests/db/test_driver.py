"""Statements that go past SQLAlchemy: what they raise comes out as it would have raised it."""

from __future__ import annotations

import pytest
from sqlalchemy import bindparam, select, update
from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError

from app.db import Storage
from app.db.driver import Constant, run
from app.db.json_rows import among
from app.db.tables import beats
from app.errors import StorageUnavailable

INSERT = "INSERT INTO beats (owner, host, pid, started_at, beat_at) VALUES ('w', 'h', 1, 0, 0)"


def test_statement_is_part_of_the_transaction(storage: Storage) -> None:
    def fail() -> None:
        with storage.write() as connection:
            run(connection, INSERT)
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    with storage.read() as connection:
        assert run(connection, "SELECT owner FROM beats").fetchall() == []


def test_value_that_is_at_fault_is_told_from_a_database_that_is(storage: Storage) -> None:
    with storage.write() as connection:
        run(connection, INSERT)
    with pytest.raises(IntegrityError), storage.write() as connection:
        run(connection, INSERT)
    if not storage.is_sqlite:
        with pytest.raises(ProgrammingError), storage.read() as reading:
            run(reading, "SELECT nothing FROM nowhere")
        with pytest.raises(DataError), storage.read() as reading:
            run(reading, "SELECT CAST(%s AS integer)", ["ten"])
    with storage.read() as reading:
        assert run(reading, "SELECT count(*) FROM beats").fetchall() == [(1,)]


def test_connection_that_broke_is_not_used_again(storage: Storage) -> None:
    if storage.is_sqlite:
        pytest.skip("a file has no connection that could break")
    ending = "SELECT pg_terminate_backend(pg_backend_pid())"
    with pytest.raises(StorageUnavailable), storage.read() as connection:
        run(connection, ending)
    storage.ping()


def test_constant_statement_says_what_sqlalchemy_would_have_it_say(storage: Storage) -> None:
    wanted = Constant(
        select(beats.c.owner, beats.c.pid)
        .where(among(beats.c.owner, "owners"), beats.c.pid < bindparam("most"), beats.c.pid > 0)
        .order_by(beats.c.owner)
        .limit(2)
    )
    with storage.write() as connection:
        for number in range(5):
            run(connection, INSERT.replace("'w', 'h', 1", f"'w{number}', 'h', {number}"))
    owners = ["w0", "w1", "w2", "w3", "w4", "it's"]
    with storage.read() as reading:
        rows = wanted.rows(reading, owners=owners, most=4)
        assert [(row.owner, row.pid) for row in rows] == [("w1", 1), ("w2", 2)]
        assert [tuple(row) for row in wanted.run(reading, owners=owners, most=2)] == [("w1", 1)]
        assert wanted.rows(reading, owners=[], most=4) == []


def test_constant_statement_that_writes(storage: Storage) -> None:
    older = Constant(update(beats).where(beats.c.owner == bindparam("its")).values(pid=7))
    with storage.write() as connection:
        run(connection, INSERT)
        assert older.run(connection, its="w").rowcount == 1
        assert older.run(connection, its="x").rowcount == 0
    with storage.read() as reading:
        assert run(reading, "SELECT pid FROM beats").fetchall() == [(7,)]
