"""The database as a room: schema, locks, and errors that say what is away."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, insert, select, text

from app.db import Storage, WriteLock, check_schema, upgrade_schema
from app.db.tables import beats, metadata
from app.errors import SchemaMismatch, StorageUnavailable, causes


def test_migrations_make_exactly_the_tables_that_the_code_knows(storage: Storage) -> None:
    with storage.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_upgrade_twice_and_by_many_at_once_is_one_upgrade(empty_database_url: str) -> None:
    def upgrade(_: int) -> None:
        one = Storage(empty_database_url)
        upgrade_schema(one)
        check_schema(one)
        one.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(upgrade, range(4)))


def test_new_file_is_opened_by_many_at_once(tmp_path: Path) -> None:
    together = threading.Barrier(6)

    def opened(place: Path) -> None:
        with closing(Storage(f"sqlite:///{place}")) as one:
            together.wait(10)
            one.ping()

    # One file in ten or so made trouble.
    for number in range(50):
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(opened, [tmp_path / f"{number}.db"] * 6))


def test_missing_schema_says_what_to_run(empty_database_url: str) -> None:
    empty = Storage(empty_database_url)
    with pytest.raises(SchemaMismatch, match=r"missing.*dc-relay db upgrade"):
        check_schema(empty)
    empty.close()


@pytest.mark.parametrize(
    ("found", "says"), [("0000", "older.*dc-relay db upgrade"), ("9999", "newer")]
)
def test_other_schema_is_refused_with_advice(storage: Storage, found: str, says: str) -> None:
    with storage.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :n"), {"n": found})
    with pytest.raises(SchemaMismatch, match=says):
        check_schema(storage)


def test_newer_schema_is_not_touched_by_an_upgrade(storage: Storage) -> None:
    with storage.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaMismatch, match="newer"):
        upgrade_schema(storage)


def test_error_inside_a_write_leaves_nothing(storage: Storage) -> None:
    row = {"owner": "w", "host": "h", "pid": 1, "started_at": 1, "beat_at": 1}

    def fail_after_writing() -> None:
        with storage.write() as connection:
            connection.execute(insert(beats).values(row))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_after_writing()
    with storage.read() as connection:
        assert connection.execute(select(beats)).all() == []


def test_sqlite_is_durable_and_in_wal_mode(empty_sqlite_url: str) -> None:
    one = Storage(empty_sqlite_url)
    with one.read() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2
    one.close()


def test_locked_sqlite_is_unavailable_within_its_timeout(empty_sqlite_url: str) -> None:
    one = Storage(empty_sqlite_url, timeout=0.2)
    upgrade_schema(one)
    other = sqlite3.connect(one.url.database or "", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageUnavailable), one.write():
        pass
    other.execute("ROLLBACK")
    other.close()
    with one.write():
        pass
    one.close()


def test_postgres_that_is_away_is_unavailable() -> None:
    one = Storage("postgresql+psycopg://nobody@127.0.0.1:1/none", timeout=1)
    with pytest.raises(StorageUnavailable):
        one.ping()
    one.close()


def backend(connection: Connection) -> int:
    return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


def cut(storage: Storage, pids: set[int]) -> None:
    """Have PostgreSQL close these sessions, and wait until they would be asked about."""
    other = Storage(storage.url.render_as_string(hide_password=False))
    with other.read() as connection:
        for pid in pids:
            connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
    other.close()
    time.sleep(1.1)


def test_connection_that_was_cut_while_it_lay_idle_is_opened_anew(storage: Storage) -> None:
    if storage.is_sqlite:
        pytest.skip("a file is not cut")

    def used() -> set[int]:
        found = set()
        for way in (storage.read, storage.write):
            with way() as connection:
                found.add(backend(connection))
        return found

    before = used()
    cut(storage, before)
    assert not used() & before


def test_connection_whose_only_use_failed_is_not_taken_for_a_new_one(storage: Storage) -> None:
    if storage.is_sqlite:
        pytest.skip("a file is not cut")
    unused = Storage(storage.url.render_as_string(hide_password=False))
    found: set[int] = set()

    def fail() -> None:
        with unused.read() as connection:
            found.add(backend(connection))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    cut(storage, found)
    with unused.read() as connection:
        assert backend(connection) not in found
    unused.close()


def test_what_is_prepared_outlives_reads_and_writes(storage: Storage) -> None:
    if storage.is_sqlite:
        pytest.skip("its statements are prepared by the driver")
    # Those that nobody has begun to forget: psycopg prepares what comes for the sixth time.
    prepared = text("SELECT statement FROM pg_prepared_statements WHERE statement LIKE '%beats%'")
    for _ in range(8):
        with storage.read() as connection:
            connection.execute(select(beats)).all()
        with storage.write() as connection:
            connection.execute(select(beats.c.owner)).all()
    # Each has a connection of its own.
    for lent in (storage.read, storage.write):
        with lent() as connection:
            assert len(connection.execute(prepared).all()) == 1


def test_directory_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageUnavailable, match="cannot make"):
        Storage(f"sqlite:///{tmp_path}/file/relay.db")


def _add_up(path: str, counter: str, times: int) -> None:
    lock = WriteLock(Path(path))
    for _ in range(times):
        with lock.held(10):
            value = int(Path(counter).read_text())
            Path(counter).write_text(str(value + 1))
    lock.close()


def test_write_lock_lets_one_writer_in_over_threads_and_processes(tmp_path: Path) -> None:
    counter, path = tmp_path / "counter", tmp_path / "lock"
    counter.write_text("0")
    spawn = multiprocessing.get_context("spawn")
    processes = [
        spawn.Process(target=_add_up, args=(str(path), str(counter), 200)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    lock = WriteLock(path)

    def add_up() -> None:
        for _ in range(200):
            with lock.held(10):
                counter.write_text(str(int(counter.read_text()) + 1))

    threads = [threading.Thread(target=add_up) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for process in processes:
        process.join(30)
    lock.close()
    assert counter.read_text() == "1000"
    assert [process.exitcode for process in processes] == [0, 0]


def test_bodies_are_compressed_with_lz4_where_the_server_has_it(storage: Storage) -> None:
    if storage.is_sqlite:
        pytest.skip("a file is not compressed")
    has = "SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'"
    how = (
        "SELECT attrelid::regclass::text, attcompression FROM pg_attribute WHERE attname = 'body'"
        " AND attrelid::regclass::text IN ('webhook_events', 'event_conflicts', 'messages')"
    )
    with storage.read() as connection:
        expected = "l" if connection.scalar(text(has)) else ""
        found = connection.execute(text(how)).all()
    assert {compression for _, compression in found} == {expected}
    assert len(found) == 3


def test_error_of_a_statement_does_not_show_its_values(storage: Storage) -> None:
    with pytest.raises(Exception) as caught, storage.write() as connection:  # noqa: PT011
        connection.execute(text("SELECT no_such_function(:value)"), {"value": "a secret"})
    shown = [str(error) for error in causes(caught.value)]
    assert any("no_such_function" in one for one in shown)
    assert not any("a secret" in one for one in shown)
