"""Runs a sandbox on a local port, in the background of the program that wants one.

Knows sockets and threads; everything that is answered comes from `web`.
"""

import socket
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.test import run_wsgi_app

from sandbox.content import Content
from sandbox.core import Core
from sandbox.downstream import received
from sandbox.errors import Json
from sandbox.faults import Faults
from sandbox.front import Front
from sandbox.models import Received
from sandbox.options import SandboxOptions
from sandbox.state import State
from sandbox.subscriptions import new_webhook
from sandbox.web import create_app
from sandbox.webhooks import EVENT_TYPES

if TYPE_CHECKING:
    from werkzeug.serving import BaseWSGIServer


class QuietHandler(WSGIRequestHandler):
    """Answers many requests on one connection, and logs none of them.

    Werkzeug closes every connection, because it cannot know whether the app read the whole body.
    `Front` always does, so here connections live on, as those of the real services do.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    connections: set[socket.socket]

    def setup(self) -> None:
        """Remember the connection, so that closing the sandbox ends it."""
        super().setup()
        self.connections.add(self.connection)

    def finish(self) -> None:
        """Forget the connection."""
        self.connections.discard(self.connection)
        super().finish()

    def run_wsgi(self) -> None:
        """Answer one request; a fault closes the connection by raising."""
        self.environ = self.make_environ()
        try:
            parts, status, headers = run_wsgi_app(self.server.app, self.environ, buffered=True)
            body = b"".join(parts)
            code, _, reason = status.partition(" ")
            self.send_response(int(code), reason)
            for name, value in headers:
                self.send_header(name, value)
            if "Content-Length" not in headers and int(code) != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def log(self, *_: Any, **__: Any) -> None:
        """Say nothing; the calls are in the state."""


class SandboxServer:
    """A running sandbox. Use it in a `with` block, or call `start` and `close`."""

    def __init__(
        self,
        options: SandboxOptions | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._options = options or SandboxOptions()
        self._address = (host, port)
        self._core: Core | None = None
        self._server: BaseWSGIServer | None = None
        self._connections: set[socket.socket] = set()

    def start(self) -> Self:
        """Bind the port and answer from a background thread."""
        host, port = self._address
        handler = type("Handler", (QuietHandler,), {"connections": self._connections})
        # Werkzeug ends the process when the port is taken; a socket of our own raises OSError.
        with socket.create_server(self._address, backlog=128) as listener:
            self._core = core = Core(self._options)
            self._server = make_server(
                host,
                port,
                Front(create_app(core), core),
                threaded=True,
                request_handler=handler,
                fd=listener.fileno(),
            )
        core.state.url = f"http://{host}:{self._server.port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="sandbox-server", daemon=True
        )
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop answering, close every connection and end every thread."""
        if self._server is None or self._core is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._core.close()
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def core(self) -> Core:
        """The joined parts; there are none before the start."""
        if self._core is None:
            raise RuntimeError("the sandbox has not been started")
        return self._core

    @property
    def url(self) -> str:
        """The address of the sandbox, without a slash at the end."""
        return self.core.state.url

    @property
    def port(self) -> int:
        """The port it answers on."""
        return int(self.url.rpartition(":")[2])

    @property
    def state(self) -> State:
        """Everything it remembers."""
        return self.core.state

    @property
    def content(self) -> Content:
        """The verbs on content, for those in the same program."""
        return self.core.content

    @property
    def faults(self) -> Faults:
        """The faults that are switched on."""
        return self.core.faults

    def add_webhook(self, url: str, secret: str, **more: Any) -> Json:
        """Register a webhook for all events, or as `more` says, in the fields of Amplience."""
        wanted = {"label": "sandbox", "events": list(EVENT_TYPES), **more}
        return new_webhook(self.state, {**wanted, "handlers": [url], "secret": secret})

    def send(self, name: str, payload: Json, *, event_id: str | None = None, times: int = 1) -> int:
        """Send an event by hand and say how many requests that makes."""
        return self.core.sender.emit(name, payload, event_id=event_id, times=times)

    def received(self, name: str, *, at_least: int = 0, timeout: float = 5) -> list[Received]:
        """List what reached a downstream, waiting a while for so many requests."""
        return received(self.state, name, at_least=at_least, timeout=timeout)

    def reset(self) -> None:
        """Let what is under way end, then forget everything and set the clock right."""
        self.core.settle(1)
        self.core.reset()

    def settle(self, timeout: float = 5) -> bool:
        """Wait until every job, webhook and retry is done; tell whether that came in time."""
        return self.core.settle(timeout)
