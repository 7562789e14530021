"""PostgreSQL connections: bounded waits for a silent server, liveness checks after idle time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import Engine, event
from sqlalchemy.exc import InvalidatePoolError

from app.db.lending import FRESH

# The server ends a statement itself at the timeout; this much later it will not answer any more.
_SILENCE = 0.25


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that gives up on a server which says nothing for `longest_silence` seconds.

    `statement_timeout` is kept by the server, so it is of no use when the server is frozen or the
    network swallows its answer. None waits for ever.
    """

    longest_silence: float | None = None

    def wait(self, *args: Any, **kwargs: Any) -> Any:
        """Wait for the server's answer to one step; called by psycopg for every one."""
        if len(args) < 3:
            kwargs.setdefault("timeout", self.longest_silence)
        try:
            return super().wait(*args, **kwargs)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                # It is still owing an answer, which would be taken for that to the next question.
                self.pgconn.finish()
            raise


def connecting(timeout: float) -> Callable[[Any, Any, Any, Any], BoundedConnection]:
    """What opens a connection in the place of SQLAlchemy, for statements of `timeout` seconds."""

    def connect(_dialect: Any, _record: Any, arguments: Any, options: Any) -> BoundedConnection:
        connection = BoundedConnection.connect(*arguments, **options)
        connection.longest_silence = timeout + _SILENCE
        return connection

    return connect


def look_after_pauses(engine: Engine) -> None:
    """Ask a connection that lay idle for an answer before it is used; all are opened anew if not.

    SQLAlchemy's own `pool_pre_ping` asks each time, which in a busy process is as many questions
    as there are transactions.
    """

    def out(connection: Any, record: Any, _proxy: Any) -> None:
        now = time.monotonic()
        before = record.info.get("out_at", now)
        record.info["out_at"] = now
        if now - before < FRESH:
            return
        try:
            engine.dialect.do_ping(connection)
        except psycopg.OperationalError as error:
            raise InvalidatePoolError from error

    event.listen(engine, "checkout", out)


def wait_for_ever(connection: Any) -> None:
    """Have a driver's connection wait as long as it takes: a migration may be slow."""
    if isinstance(connection, BoundedConnection):
        connection.longest_silence = None
