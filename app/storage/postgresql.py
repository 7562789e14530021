"""How PostgreSQL is dialled: no connection waits for ever for a server that says nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy.exc import InvalidatePoolError

# The server ends a statement itself at the timeout; this much later it will not answer any more.
_SILENCE = 0.25
# A connection that said nothing for longer is asked for a sign of life before it is used.
_RESTED = 1.0


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that gives up on a server which says nothing for `longest_silence` seconds.

    `statement_timeout` is kept by the server, so it is of no use when the server is frozen or the
    network swallows its answer. None waits for ever.
    """

    longest_silence: float | None = None
    answered_at = float("-inf")

    def wait(self, *args: Any, **kwargs: Any) -> Any:
        """Wait for the server's answer to one step; called by psycopg for every one."""
        if len(args) < 3:
            kwargs.setdefault("timeout", self.longest_silence)
        try:
            answer = super().wait(*args, **kwargs)
            self.answered_at = time.monotonic()
            return answer
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                # It is still owing an answer, which would be taken for that to the next question.
                self.pgconn.finish()
            raise


def ask_if_rested(connection: Any, _record: Any, _proxy: Any) -> None:
    """Make sure that the server is still behind a connection which the pool hands out.

    A server that was started anew leaves connections behind that only seem to be there. To ask is a
    journey, so one that has just answered is not asked
    (https://docs.sqlalchemy.org/en/20/core/pooling.html#custom-legacy-pessimistic-ping).
    """
    if time.monotonic() - connection.answered_at < _RESTED:
        return
    try:
        connection.autocommit = True
        connection.execute("")
        connection.autocommit = False
    except psycopg.Error as error:
        # The pool makes all of them anew, and goes on with the caller unaware.
        raise InvalidatePoolError from error


def connecting(timeout: float) -> Callable[[Any, Any, Any, Any], BoundedConnection]:
    """What opens a connection in the place of SQLAlchemy, for statements of `timeout` seconds."""

    def connect(_dialect: Any, _record: Any, arguments: Any, options: Any) -> BoundedConnection:
        connection = BoundedConnection.connect(*arguments, **options)
        connection.longest_silence = timeout + _SILENCE
        return connection

    return connect


def wait_for_ever(connection: Any) -> None:
    """Have a driver's connection wait as long as it takes: a migration may be slow."""
    if isinstance(connection, BoundedConnection):
        connection.longest_silence = None
