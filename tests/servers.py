"""Small HTTP servers on loopback that answer as a test tells them to."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Received:
    """One request as it came in; `path` is without the query, `port` is the caller's."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes
    port: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """What to answer.

    `drip` sends the body byte by byte with that many seconds between; with `drip_head` the status
    line and the headers too. `interim` goes out as it is, before the status line.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    drip: float | None = None
    drip_head: bool = False
    interim: bytes = b""


def json_reply(content: Any, status: int = 200, **headers: str) -> Reply:
    return Reply(
        status, json.dumps(content).encode(), {"Content-Type": "application/json"} | headers
    )


Answering = Callable[[Received], Reply | None]
Accepting = Callable[[socket.socket], socket.socket]


class ScriptedServer:
    """Answers every request with what `answering` returns; None breaks the connection off.

    `accepting` makes of each new connection the one that is read, in that connection's own thread.
    """

    def __init__(self, answering: Answering, *, accepting: Accepting | None = None) -> None:
        self.received: list[Received] = []
        self.closing = threading.Event()
        self._server = _Server(self, answering, accepting)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(
        self, script: ScriptedServer, answering: Answering, accepting: Accepting | None
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.answering = answering
        self.accepting = accepting

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve one connection."""
        if self.accepting is None:
            super().finish_request(request, client_address)
            return
        with self.accepting(request) as accepted:
            super().finish_request(accepted, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that hangs up is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _answer(self) -> None:
        request = self._read()
        self.server.script.received.append(request)
        reply = self.server.answering(request)
        if reply is None:
            self.close_connection = True
            return
        try:
            self._write(reply)
        except OSError:
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 (http.server's names)

    def _read(self) -> Received:
        parts = urlsplit(self.path)
        return Received(
            method=self.command,
            path=parts.path,
            query=parse_qs(parts.query),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(int(self.headers.get("Content-Length") or 0)),
            port=self.client_address[1],
        )

    def _write(self, reply: Reply) -> None:
        headers = {"Content-Length": str(len(reply.body))} | dict(reply.headers)
        lines = [f"HTTP/1.1 {reply.status} -", *(f"{name}: {headers[name]}" for name in headers)]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        self.wfile.write(reply.interim)
        if reply.drip is None:
            self.wfile.write(head + reply.body)
            return
        slow = head + reply.body if reply.drip_head else reply.body
        self.wfile.write(b"" if reply.drip_head else head)
        for position in range(len(slow)):
            if self.server.script.closing.wait(reply.drip):
                return
            self.wfile.write(slow[position : position + 1])

    def log_message(self, *args: Any) -> None:
        pass
