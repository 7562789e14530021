"""A connection that stays at hand between uses, for what uses the database all the time.

To take a connection from the pool and to give it back costs as much as a statement does, and each
webhook and each step of a job would.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine

# Who had a connection so long ago at the most, in seconds, need not ask whether it is there still:
# should it have been cut since, that is as if it were cut within the next statement.
FRESH = 1.0
# How long the end of the process waits for who is using it, in seconds.
_PATIENCE = 1.0


class Lender:
    """Lends one connection of a pool to one user at a time; who comes meanwhile has another.

    One that was not used for a while comes from the pool anew, which may ask whether it is there.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._taken = threading.Lock()
        self._kept: Connection | None = None
        self._used_at = 0.0

    @contextmanager
    def lent(self) -> Iterator[Connection]:
        """Lend a connection; it comes back without a transaction, and is let go after an error."""
        if not self._taken.acquire(blocking=False):
            with self._engine.connect() as connection:
                yield connection
            return
        try:
            connection = self._at_hand()
            yield connection
            if connection.in_transaction():
                connection.rollback()
            self._used_at = time.monotonic()
        except BaseException:
            self._let_go()
            raise
        finally:
            self._taken.release()

    def close(self) -> None:
        """Give the connection back to the pool; who has it at this moment keeps it."""
        if self._taken.acquire(timeout=_PATIENCE):
            self._let_go()
            self._taken.release()

    def _at_hand(self) -> Connection:
        if self._kept is not None and time.monotonic() - self._used_at > FRESH:
            self._let_go()
        if self._kept is None:
            self._kept = self._engine.connect()
        return self._kept

    def _let_go(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()
