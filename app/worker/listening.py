"""How a worker hears of new jobs on PostgreSQL."""

from __future__ import annotations

import threading

import psycopg
import structlog

from app.db import Storage
from app.errors import StorageUnavailable
from app.queue.insert_events import JOBS_CHANNEL

_log = structlog.get_logger(__name__)


class ChannelBell:
    """For PostgreSQL: one connection that listens; who accepts an event notifies at its commit."""

    def __init__(self, storage: Storage) -> None:
        self._rung = threading.Event()
        self._closed = threading.Event()
        url = storage.url.set(drivername="postgresql")
        self._conninfo = url.render_as_string(hide_password=False)
        self._thread = threading.Thread(target=self._listen, name="listen", daemon=True)
        self._thread.start()

    def ring(self) -> None:
        """Wake whoever waits."""
        self._rung.set()

    def wait(self, timeout: float) -> None:
        """Return when it rang since the last wait, or after `timeout` seconds."""
        self._rung.wait(timeout)
        self._rung.clear()

    def close(self) -> None:
        """End the listening thread."""
        self._closed.set()
        self._thread.join(5)

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                self._hear()
            except (psycopg.Error, StorageUnavailable) as error:
                # The worker still asks the database now and then, so this only costs time.
                _log.warning("bell.lost", detail=type(error).__name__)
                self._closed.wait(1)

    def _hear(self) -> None:
        with psycopg.connect(self._conninfo, autocommit=True, connect_timeout=5) as connection:
            connection.execute(f"LISTEN {JOBS_CHANNEL}")
            self._rung.set()  # what came while nobody listened
            while not self._closed.is_set():
                for _ in connection.notifies(timeout=1, stop_after=1):
                    self._rung.set()
