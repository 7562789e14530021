"""gunicorn's threaded worker, but slow clients hold no thread.

gthread gives a connection to a thread at once, and the thread waits for the request for as long as
its client likes: as many slow connections as there are threads stop the service. Here the event
loop receives requests and hands over complete ones only; it also sends what a client does not read
at once, and waits for clients to close. What each may take is bounded by time, the whole by
memory and by the number of connections; past a bound, the oldest one is closed first.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from selectors import EVENT_READ, EVENT_WRITE
from typing import Any

from gunicorn.config import Config  # type: ignore[import-untyped]
from gunicorn.glogging import Logger  # type: ignore[import-untyped]
from gunicorn.workers.gthread import TConn, ThreadWorker  # type: ignore[import-untyped]

from app.web.client_socket import Arrival, ClientSocket
from app.web.limits import MAX_BODY

# Seconds for a request, head and body, from its first byte; from the accept for the first one.
REQUEST_SECONDS = 10.0
# For what of an answer the client has not taken when its thread is done.
_ANSWER_SECONDS = 60.0
# For the client to close after the last answer: closing first could take it from the client
# (RFC 9112, section 9.6).
_CLOSE_SECONDS = 2.0
# What is kept for all connections of a process together, in bytes: requests and answers.
MOST_BUFFERED = 32 * 1024 * 1024
_REPORT_EVERY = 60.0

Bucket = dict[TConn, None]  # in the order of their deadlines


class BufferingWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """A gthread worker whose threads never wait for a client.

    Only `handle_request` and `_keepalive_after` run in threads. The rest must not block.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._receiving: Bucket = {}
        self._sending: Bucket = {}
        self._closing: Bucket = {}
        self._buffered = 0
        # As much as each connection may have, however much all the others have.
        self._fair_share = MOST_BUFFERED // self.worker_connections
        # Whether no further connection can be opened.
        self._full = False
        self._slow = 0
        self._next_report = 0.0

    @classmethod
    def check_config(cls, cfg: Config, log: Logger) -> None:
        """Called by gunicorn at start."""
        super().check_config(cfg, log)
        if cfg.is_ssl or cfg.proxy_protocol != "off" or cfg.http2_cleartext != "off":
            raise SystemExit(
                "The web process speaks plain HTTP/1 only: leave out gunicorn's settings for TLS,"
                " HTTP/2 and the PROXY protocol, and end these in a proxy in front of it."
            )

    def accept(self, listener: socket.socket) -> None:
        """Called by gunicorn for a listener that has a new connection."""
        try:
            super().accept(listener)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            self._full = True

    def enqueue_req(self, conn: TConn) -> None:
        """Called by gunicorn for a new connection, and for an idle one that is readable again."""
        if not isinstance(conn.sock, ClientSocket):
            conn.sock = ClientSocket.adopt(conn.sock, MAX_BODY)
            conn.data_ready = True
        self._receive(conn)

    def _receive(self, conn: TConn) -> None:
        try:
            arrival = conn.sock.receive()
        except OSError:
            arrival = Arrival.CLOSED
        self._account(conn)
        if arrival is Arrival.CLOSED:
            self._close(conn)
        elif arrival is Arrival.COMPLETE:
            self._unpark(conn)
            self._shrink()
            if self._buffered > MOST_BUFFERED and conn.buffered > self._fair_share:
                self._slow += 1
                self._close(conn)
            else:
                super().enqueue_req(conn)
        elif conn not in self._receiving:
            self._park(conn, self._receiving, REQUEST_SECONDS, EVENT_READ, self._receive)
        self._shrink()

    def handle_request(self, req: Any, conn: TConn) -> bool:
        """Called by gunicorn in a thread, with the head parsed."""
        # `ClientSocket` answers this expectation when the head has arrived.
        req._expected_100_continue = False
        return bool(super().handle_request(req, conn))

    def _keepalive_after(self, conn: TConn, keepalive: bool) -> bool:
        # What the parser left over, or missed, means that it and `Framing` disagree about the end
        # of the request. Then nobody knows where the next one starts.
        return (
            super()._keepalive_after(conn, keepalive)
            and conn.sock.fully_read
            and not conn.parser.unreader.buf.getvalue()
        )

    def finish_request(self, conn: TConn, fs: Future[Any]) -> None:
        """Called by gunicorn when a thread is done, and then by us until the answer is sent."""
        conn.sock.request_done()
        try:
            sent = conn.sock.flush()
        except OSError:
            self._close(conn)
            return
        self._account(conn)
        if not sent:
            if conn not in self._sending:
                again = partial(self.finish_request, fs=fs)
                self._park(conn, self._sending, _ANSWER_SECONDS, EVENT_WRITE, again)
                self._shrink()
            return
        self._unpark(conn)
        if fs.cancelled() or fs.exception() or not fs.result():
            self._finish(conn)
        elif conn.sock.received:
            self.enqueue_req(conn)  # the client sent its next request without waiting
        else:
            super().finish_request(conn, fs)

    def _finish(self, conn: TConn) -> None:
        """Tell the client that no more follows, and let it close first."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(conn)
        else:
            self._park(conn, self._closing, _CLOSE_SECONDS, EVENT_READ, self._discard)

    def _discard(self, conn: TConn) -> None:
        try:
            more = conn.sock.discard()
        except BlockingIOError:
            return
        except OSError:
            more = False
        if not more:
            self._close(conn)

    def _park(
        self, conn: TConn, bucket: Bucket, seconds: float, event: int, then: Callable[..., None]
    ) -> None:
        """Have `then` called with the connection on each event, until it is unparked."""
        conn.timeout = time.monotonic() + seconds
        bucket[conn] = None

        def ready(_sock: object) -> None:
            # An event before this one in the same round may have closed the connection.
            if conn in bucket:
                then(conn)

        self.poller.register(conn.sock, event, ready)

    def _unpark(self, conn: TConn) -> None:
        for bucket in (self._receiving, self._sending, self._closing):
            if conn in bucket:
                del bucket[conn]
                self.poller.unregister(conn.sock)

    def _close(self, conn: TConn) -> None:
        self._unpark(conn)
        self._buffered -= getattr(conn, "buffered", 0)
        self.nr_conns -= 1
        conn.close()

    def _account(self, conn: TConn) -> None:
        before, conn.buffered = getattr(conn, "buffered", 0), conn.sock.buffered
        self._buffered += conn.buffered - before

    def _shrink(self) -> None:
        while self._buffered > MOST_BUFFERED and self._close_first(self._receiving, self._sending):
            pass

    def _close_first(self, *buckets: Bucket) -> bool:
        """Close the oldest connection of the first bucket that has any."""
        for bucket in filter(None, buckets):
            self._slow += bucket is not self._closing
            self._close(next(iter(bucket)))
            return True
        return False

    def murder_pending(self) -> None:
        """Called by gunicorn after each round of events: closes what must not wait any longer."""
        now = time.monotonic()
        for bucket in (self._receiving, self._sending, self._closing):
            while bucket and next(iter(bucket)).timeout <= now:
                self._close_first(bucket)
        while (self._full or self.nr_conns >= self.worker_connections) and self._close_oldest():
            self._full = False
        if self._slow and now >= self._next_report:
            self.log.warning(
                "Closed %d connections that were too slow, or too many, or sent too much at once",
                self._slow,
            )
            self._slow, self._next_report = 0, now + _REPORT_EVERY

    def _close_oldest(self) -> bool:
        """Make room for another connection; False when all are being served."""
        if self._close_first(self._closing, self._receiving):
            return True
        if self.keepalived_conns:
            self.keepalived_conns[0].timeout = 0.0
            self.murder_keepalived()
            return True
        return self._close_first(self._sending)

    def _cap_keepalive(self, deadline: float) -> None:
        """Called by gunicorn when it begins to stop: silent connections count as idle ones."""
        super()._cap_keepalive(deadline)
        for conn in self._receiving:
            if not conn.sock.received:
                conn.timeout = min(conn.timeout, deadline)
        in_order = sorted(self._receiving, key=lambda conn: conn.timeout)
        self._receiving.clear()
        self._receiving.update(dict.fromkeys(in_order))
