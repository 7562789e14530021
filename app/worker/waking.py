"""How a worker learns of new jobs at once, without asking the database all the time."""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import Protocol

from app.db import Storage

_LOOK_EVERY = 0.02


class Bell(Protocol):
    """Rings when there may be something to claim; it may ring for nothing."""

    def ring(self) -> None:
        """Wake whoever waits, or the next one who would."""
        ...

    def wait(self, timeout: float) -> None:
        """Return when it rang since the last wait, or after `timeout` seconds."""
        ...

    def close(self) -> None:
        """Stop listening."""
        ...


def make_bell(storage: Storage) -> Bell:
    """Make the bell that suits the database."""
    if storage.is_sqlite:
        return FileBell(storage)
    # PostgreSQL's driver is 9 MB, and of no use to who has a file.
    from app.worker.listening import ChannelBell  # noqa: PLC0415

    return ChannelBell(storage)


class FileBell:
    """For SQLite: `PRAGMA data_version` changes when another connection has committed.

    It reads a counter in shared memory, no page of the file, so looking often costs next to
    nothing (https://www.sqlite.org/pragma.html#pragma_data_version).
    """

    def __init__(self, storage: Storage) -> None:
        self._rung = threading.Event()
        # The driver's own: through SQLAlchemy each look is a transaction, and costs thirty times
        # as much, fifty times a second.
        self._connection = storage.engine.raw_connection()
        self._cursor = self._connection.cursor()
        self._seen = self._version()

    def _version(self) -> int:
        """The counter, or -1 while the file cannot be read: whoever asks for jobs is told that."""
        try:
            self._cursor.execute("PRAGMA data_version")
            [(version,)] = self._cursor.fetchall()
        except sqlite3.Error:
            return -1
        return int(version)

    def ring(self) -> None:
        """Wake whoever waits."""
        self._rung.set()

    def wait(self, timeout: float) -> None:
        """Return when a connection has committed, or it rang, or after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            if self._rung.wait(min(left, _LOOK_EVERY)):
                break
            version = self._version()
            if version not in (self._seen, -1):
                self._seen = version
                break
        self._rung.clear()

    def close(self) -> None:
        """Close the connection."""
        self._cursor.close()
        self._connection.close()
