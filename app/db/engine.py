"""Engine and transactions of the database.

SQLite runs with WAL and `synchronous=FULL`: a commit that was answered survives a power cut. Its
own waiting for the write lock is a sleep with growing pauses and therefore unfair between
processes; an advisory lock on a file beside the database, taken before each write transaction,
keeps the tail short. PostgreSQL needs none of this, but it is over a network: a server that is
frozen, or a path to it that swallows packets, must not hold a thread for ever.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.db.driver import read_json, run
from app.db.group_commit import Entry, Result, SharedWrites, VerbForMany
from app.db.lending import Lender
from app.errors import StorageUnavailable, WriteConflict

# A deadlock, and a transaction that a failover or a stricter isolation level made give way
# (https://www.postgresql.org/docs/current/errcodes-appendix.html).
_CONFLICTS = frozenset({"40P01", "40001"})
_LOCK_POLL = 0.0005
# A process that is stopped within a transaction keeps its locks, which others wait for: the server
# ends its session. Between two statements of ours lie milliseconds, seconds on a starved machine.
_LONGEST_PAUSE_MS = 4_000
# How long sent data may stay unacknowledged before the connection counts as broken.
_VANISHED_MS = 10_000


class WriteLock:
    """One writer at a time over all threads and processes that use one SQLite file.

    It polls instead of waiting in the kernel, because `flock` cannot time out: a process that was
    stopped while it held the lock would hold every webhook for ever.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread_lock = threading.Lock()
        self._descriptor: int | None = None
        self._pid = 0

    @contextmanager
    def held(self, timeout: float) -> Iterator[None]:
        """Hold the lock for the block; raises `StorageUnavailable` after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        if not self._thread_lock.acquire(timeout=timeout):
            raise StorageUnavailable("the database is locked by another thread")
        try:
            descriptor = self._open()
            self._wait(descriptor, deadline)
            try:
                yield
            finally:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            self._thread_lock.release()

    def _open(self) -> int:
        # A forked child shares its parent's descriptor, and with it the parent's lock.
        if self._descriptor is None or self._pid != os.getpid():
            try:
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise StorageUnavailable(f"cannot open {self._path}: {error.strerror}") from error
            self._pid = os.getpid()
        return self._descriptor

    def _wait(self, descriptor: int, deadline: float) -> None:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StorageUnavailable("the database is locked by another process") from None
                time.sleep(_LOCK_POLL)
            else:
                return

    def close(self) -> None:
        """Close the lock file."""
        if self._descriptor is not None and self._pid == os.getpid():
            os.close(self._descriptor)
        self._descriptor = None


class Storage:
    """The database, by its URL. Thread-safe; make it after a fork, not before.

    `timeout` in seconds bounds the wait for a connection, for the write lock, and (on PostgreSQL)
    each statement. Whatever the driver raises because the database is away comes out as
    `StorageUnavailable`; what is wrong with the data itself comes out as SQLAlchemy raised it.
    """

    def __init__(self, url: str, *, timeout: float = 10.0, pool_size: int = 5) -> None:
        self.url: URL = make_url(url)
        self.timeout = timeout
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._lock: WriteLock | None = None
        if self.is_sqlite:
            path = Path(self.url.database or "")
            self._make_directory(path)
            self._lock = WriteLock(path.with_name(path.name + ".lock"))
        self.engine: Engine = create_engine(
            self.url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=timeout,
            connect_args=self._connect_args(),
            json_deserializer=read_json,
            # What is written may hold what must not be in a log.
            hide_parameters=True,
        )
        # Each step has its own bound; a verb waits for the group before its own as well.
        self._shared = SharedWrites(self.write, timeout=3 * timeout)
        if self.is_sqlite:
            event.listen(self.engine, "connect", partial(_set_pragmas, timeout))
            event.listen(self.engine, "begin", _begin)
            plain = self.engine
        else:
            # The driver is 9 MB, and of no use to who has a file.
            from app.db.postgresql import connecting, look_after_pauses  # noqa: PLC0415

            event.listen(self.engine, "do_connect", connecting(timeout))
            look_after_pauses(self.engine)
            plain = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._plain = Lender(plain)
        self._writing = Lender(self.engine.execution_options(dc_relay_write=True))

    def _connect_args(self) -> dict[str, Any]:
        if self.is_sqlite:
            return {"timeout": self.timeout, "check_same_thread": False}
        limit = round(self.timeout * 1000)
        return {
            "connect_timeout": max(2, round(self.timeout)),
            "options": (
                f"-c statement_timeout={limit} -c lock_timeout={limit}"
                f" -c idle_in_transaction_session_timeout={_LONGEST_PAUSE_MS}"
                f" -c tcp_user_timeout={_VANISHED_MS}"
            ),
            "application_name": "dc-relay",
            # The same from our side: a peer that vanished is noticed without a word from it.
            "keepalives_idle": 10,
            "keepalives_interval": 3,
            "keepalives_count": 3,
            "tcp_user_timeout": _VANISHED_MS,
        }

    @staticmethod
    def _make_directory(path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageUnavailable(f"cannot make {path.parent}: {error.strerror}") from error

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a connection that only reads; on SQLite all that it reads is of one moment.

        On PostgreSQL each statement sees what was committed before it, in a transaction or not. So
        there is none, which would take the server two more answers; and the driver forgets at its
        ROLLBACK what was prepared.
        """
        with _translated(), self._plain.lent() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that may write: committed at the end, rolled back on any error."""
        alone = self._lock.held(self.timeout) if self._lock else nullcontext()
        with alone, _translated(), self._writing.lent() as connection, connection.begin():
            yield connection

    def shared_write(self, verb: Callable[[Connection], Result]) -> Result:
        """Run `verb` in a write transaction that it may share with other threads' verbs.

        Returns what it returned, after the commit. A verb that raises an `AppError` must not have
        written anything; it may be run a second time when another one of its group fails.
        """
        return self._shared.run(verb)

    def batched_write(self, verb: VerbForMany[Entry, Result], entry: Entry) -> Result:
        """Write `entry` with `verb` like `shared_write`, in one call with other threads' entries.

        `verb` returns an answer for each entry, in order; one that is an `AppError` is raised to
        its caller.
        """
        return self._shared.run_batched(verb, entry)

    def ping(self) -> None:
        """Ask the database for an answer; raises `StorageUnavailable`."""
        with self.read() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Close every connection."""
        self._shared.close()
        self._plain.close()
        self._writing.close()
        self.engine.dispose()
        if self._lock:
            self._lock.close()


def _set_pragmas(timeout: float, connection: Any, _record: Any) -> None:
    # The driver must not open transactions by itself: `_begin` chooses which kind.
    connection.isolation_level = None
    cursor = connection.cursor()
    _use_wal(cursor, time.monotonic() + timeout)
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _use_wal(cursor: sqlite3.Cursor, deadline: float) -> None:
    # Where several open a new file at the same moment, SQLite fails this at once instead of waiting
    # as for any other lock.
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_LOCK_POLL)
        else:
            return


def _begin(connection: Connection) -> None:
    # IMMEDIATE takes the write lock at once: a transaction that first reads and then writes could
    # otherwise fail in its middle, where waiting does not help.
    writes = connection.get_execution_options().get("dc_relay_write", False)
    run(connection, "BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except PoolTimeout as error:
        raise StorageUnavailable("no free database connection") from error
    except (DataError, IntegrityError, NotSupportedError, ProgrammingError):
        raise  # the value or the statement is at fault, not the database
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) in _CONFLICTS:
            raise WriteConflict from error
        raise StorageUnavailable(f"the database failed: {_first_line(error)}") from error


def _first_line(error: DBAPIError) -> str:
    lines = str(error.orig).strip().splitlines()
    return lines[0] if lines else type(error.orig).__name__
