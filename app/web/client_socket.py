"""The socket of one client, which no thread ever waits for."""

from __future__ import annotations

import socket
from enum import Enum
from typing import Any

from app.web.framing import Framing

# How much is read at once. A larger piece would let one client keep the event loop for longer.
_PIECE = 64 * 1024
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Arrival(Enum):
    """What has arrived of a request."""

    PARTIAL = "partial"
    COMPLETE = "complete"
    CLOSED = "closed"


class ClientSocket(socket.socket):
    """Buffers a request before a thread reads it, and an answer that the client does not read yet.

    The event loop calls `receive`, `complete_request`, `flush` and `discard`; the thread that
    serves the request calls what gunicorn calls of a socket: `recv` gives the request, then
    nothing, as at the end of a stream; `sendall` returns at once. Only one of them at a time may
    have the socket. It is always non-blocking, whatever gunicorn asks for.
    """

    received: bytearray
    unsent: bytearray
    # Whether the thread wanted more of the request than there was. What follows on the connection
    # may be the rest of that request, so nothing may be read from it as a new one.
    read_past_end: bool
    _most_body: int
    _framing: Framing
    _request: bytes
    _read: int

    @classmethod
    def adopt(cls, accepted: socket.socket, most_body: int) -> ClientSocket:
        """Take over an accepted connection; `accepted` cannot be used any more."""
        client = cls(accepted.family, accepted.type, accepted.proto, accepted.detach())
        socket.socket.setblocking(client, False)  # noqa: FBT003 - its own signature
        client.received = bytearray()
        client.unsent = bytearray()
        client.read_past_end = False
        client._most_body = most_body
        client._framing = Framing(most_body)
        client._request = b""
        client._read = 0
        return client

    @property
    def buffered(self) -> int:
        """How many bytes are kept for this client."""
        return len(self.received) + len(self._request) + len(self.unsent)

    @property
    def fully_read(self) -> bool:
        """Whether the thread has read exactly the request that was given to it."""
        return self._read == len(self._request) and not self.read_past_end

    def receive(self) -> Arrival:
        """Take in what has arrived, at most one piece. Raises OSError when the connection broke."""
        if self.received and self._take_request():
            return Arrival.COMPLETE
        try:
            piece = super().recv(_PIECE)
        except BlockingIOError:
            return Arrival.PARTIAL
        self.received += piece
        if self._take_request():
            return Arrival.COMPLETE
        if piece:
            return Arrival.PARTIAL
        # The client sends no more. It may still read why its request was refused.
        return Arrival.COMPLETE if self._take(len(self.received)) else Arrival.CLOSED

    def _take_request(self) -> bool:
        end = self._framing.end(self.received)
        if end is not None:
            return self._take(end)
        if self._framing.expects_continue:
            self._framing.expects_continue = False
            self.sendall(_CONTINUE)
        return False

    def _take(self, end: int) -> bool:
        self._request, self._read = bytes(self.received[:end]), 0
        del self.received[:end]
        self._framing = Framing(self._most_body)
        return end > 0

    def request_done(self) -> None:
        """Let go of the request that was read."""
        self._request, self._read = b"", 0

    def flush(self) -> bool:
        """Send what the client takes now; whether that was all. Raises OSError as `send`."""
        if self.unsent:
            del self.unsent[: self._send(self.unsent)]
        return not self.unsent

    def discard(self) -> bool:
        """Read and forget a piece; False at the end. Raises OSError as `recv`."""
        return bool(super().recv(_PIECE))

    def recv(self, bufsize: int, flags: int = 0) -> bytes:  # noqa: ARG002 - gunicorn gives none
        """The next bytes of the request, b"" after the last."""
        piece = self._request[self._read : self._read + bufsize]
        self._read += len(piece)
        if not piece:
            self.read_past_end = True
        return piece

    def sendall(self, data: bytes, flags: int = 0) -> None:  # type: ignore[override]  # noqa: ARG002
        """Send what the client takes now, and keep the rest for `flush`."""
        sent = 0 if self.unsent else self._send(data)
        if sent < len(data):
            self.unsent += memoryview(data)[sent:]

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send a file as `sendall` does: the system's call wants a socket that may block."""
        file.seek(offset)
        data = file.read(-1 if count is None else count)
        self.sendall(data)
        return len(data)

    def _send(self, data: bytes | bytearray) -> int:
        try:
            return self.send(data)
        except BlockingIOError:
            return 0

    def setblocking(self, flag: bool) -> None:
        """Nothing: gunicorn wants it blocking for its threads, and there is nothing to wait for."""

    def settimeout(self, value: float | None) -> None:
        """Nothing, for the same reason."""
