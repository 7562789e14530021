"""HTTP connections with one deadline for the whole answer, shared by all outbound clients.

`urllib3.Timeout` bounds each read of a socket. A peer that sends a byte now and then is never
silent for long enough, so here one deadline bounds all reads of an answer together. Interim
responses (1xx) are passed over until the final one (RFC 9110, section 15.2): `http.client` passes
over 100 alone, takes 102 or 103 for final, and then reads the final answer as that of the next
request.
"""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from http.client import BadStatusLine, HTTPResponse, parse_headers
from typing import Any, cast

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

# No server needs this many; one that never comes to its final answer is broken.
MOST_INTERIM = 16
_SWITCHING_PROTOCOLS = 101

Check = Callable[[], None]
_check_before_sending: ContextVar[Check | None] = ContextVar("check_before_sending", default=None)


@contextmanager
def before_sending(check: Check | None) -> Iterator[None]:
    """Call `check` right before the first byte of each request that this thread makes in the block.

    The connection stands then: resolving a name, connecting and TLS can take seconds, in which what
    was true before may have changed. What `check` raises reaches the caller, nothing is sent, and
    the connection is closed. None: no check, whatever an outer block asks for.
    """
    token = _check_before_sending.set(check)
    try:
        yield
    finally:
        _check_before_sending.reset(token)


class DeadlineConnection(HTTPConnection):
    """A connection whose answers are read until the time is up, and no longer.

    The time is the timeout that urllib3 gives to reading: with `Timeout(total=...)` what connecting
    and sending have left, with `Timeout(read=...)` all of it. Without a timeout there is no
    deadline, and interim responses are not passed over.
    """

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send a request, within the time for connecting; see `before_sending`."""
        if self.sock is None:
            self.connect()
        else:
            # A kept connection has the timeout of the last read still, which may be almost nothing.
            self.sock.settimeout(self.timeout)
        if check := _check_before_sending.get():
            check()
        super().request(*args, **kwargs)

    def getresponse(self) -> Any:
        """Read the head of the final answer."""
        if not isinstance(self.timeout, (int, float)):
            return super().getresponse()
        end = time.monotonic() + self.timeout
        # All that http.client does with it is to call it.
        self.response_class = partial(_DeadlineResponse, end=end)  # type: ignore[assignment]
        try:
            return super().getresponse()
        finally:
            # Back to the class's own: a proxy's answer to CONNECT is read with it, later.
            del self.response_class


class DeadlineTlsConnection(DeadlineConnection, HTTPSConnection):
    """The same over TLS."""


class DeadlinePool(HTTPConnectionPool):
    """Kept connections with a deadline."""

    ConnectionCls = DeadlineConnection


class DeadlineTlsPool(HTTPSConnectionPool):
    """Kept connections over TLS with a deadline."""

    ConnectionCls = DeadlineTlsConnection


POOL_CLASSES: dict[str, type[HTTPConnectionPool]] = {
    "http": DeadlinePool,
    "https": DeadlineTlsPool,
}


class _DeadlineReader(io.RawIOBase):
    """Reads a socket, and gives each read no more time than is left."""

    def __init__(self, raw: socket.SocketIO, connection: socket.socket, end: float) -> None:
        self._raw = raw
        self._connection = connection
        self._end = end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer took too long")
        self._connection.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _DeadlineResponse(HTTPResponse):
    """A final answer that is read until `end` and no longer (a time.monotonic)."""

    def __init__(self, sock: socket.socket, *args: Any, end: float, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        raw = cast(socket.SocketIO, self.fp.detach())
        self.fp = io.BufferedReader(_DeadlineReader(raw, sock, end))

    def _read_status(self) -> tuple[str, int, str]:
        """Read the status line of the final answer; `begin` calls this first.

        Raises `HTTPException` for what is no answer: 101, because no upgrade was asked for, or too
        many interim ones.
        """
        for _ in range(MOST_INTERIM + 1):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 <= status < 200:
                return version, status, reason
            if status == _SWITCHING_PROTOCOLS:
                raise BadStatusLine("101, and no upgrade was asked for")
            parse_headers(self.fp)
        raise BadStatusLine(f"more than {MOST_INTERIM} interim responses")
