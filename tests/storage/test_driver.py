"""Statements that go past SQLAlchemy: what they raise comes out as it would have raised it."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import DataError, IntegrityError

from app.errors import StorageUnavailable
from app.storage import Storage
from app.storage.driver import run

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
    with pytest.raises(StorageUnavailable, match="the database failed"), storage.read() as reading:
        run(reading, "SELECT nothing FROM nowhere")
    if not storage.is_sqlite:
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
