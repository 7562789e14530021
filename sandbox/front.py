"""The first to see a request: writes it down, and makes it go wrong if a fault says so.

A WSGI layer around the Flask app, because a closed connection is nothing that a view can answer.
"""

import io
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from werkzeug.wrappers import Response

from sandbox.core import Core
from sandbox.errors import delivery_error_body
from sandbox.faults import Fault
from sandbox.models import Call

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PREFIXES = {
    "/oauth": "auth",
    "/v2/content": "management",
    "/cdn": "cdn",
    "/fresh": "fresh",
    "/staging": "staging",
    "/downstream": "downstream",
}


def area(path: str) -> str | None:
    """Tell which pretend service a path belongs to; the sandbox's own pages to none."""
    for prefix, where in PREFIXES.items():
        if path == prefix or path.startswith(prefix + "/"):
            return where
    return None


def read_body(environ: "WSGIEnvironment") -> bytes:
    """Take the whole body, so that the connection can be used again whatever the answer is."""
    stream = environ["wsgi.input"]
    if environ.get("wsgi.input_terminated"):
        body: bytes = stream.read()
    else:
        body = stream.read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    return body


def parsed(body: bytes) -> object:
    """Read a body as JSON if it is some."""
    try:
        return json.loads(body) if body else None
    except ValueError:
        return None


def failure(fault: Fault) -> Response:
    """Write the answer of a fault: its own body, or one in the style of that service."""
    body = fault.body
    if body is None:
        if fault.where == "management":
            error = {"level": "ERROR", "code": "SANDBOX_FAULT", "message": "A fault is on."}
            body = {"errors": [error]}
        else:
            body = {"error": delivery_error_body("SANDBOX_FAULT", "A fault is on.")}
    text = body if isinstance(body, str) else json.dumps(body)
    kind = "text/plain" if isinstance(body, str) else "application/json"
    return Response(text, status=fault.status, content_type=kind, headers=fault.headers)


class Front:
    """The WSGI application that the server runs."""

    def __init__(self, app: "WSGIApplication", core: Core) -> None:
        self._app = app
        self._core = core

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer one request."""
        body = read_body(environ)
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        where = area(path)
        if where is None:
            return self._app(environ, start_response)
        call = Call(
            where=where,
            method=method,
            path=path,
            query=environ.get("QUERY_STRING", ""),
            json=parsed(body),
            time=self._core.state.now(),
            traceparent=environ.get("HTTP_TRACEPARENT"),
        )
        with self._core.state.lock:
            self._core.state.calls.append(call)
        fault = self._core.faults.take(where, method, path)
        call.fault = fault.kind if fault else None
        response = self._answer(environ, fault)
        call.status = response.status_code
        return response(environ, start_response)

    def _answer(self, environ: "WSGIEnvironment", fault: Fault | None) -> Response:
        if fault is None:
            return self._real_answer(environ)
        if fault.kind in {"delay", "hang"}:
            self._core.faults.wait(fault.seconds)
        if fault.kind == "delay":
            return self._real_answer(environ)
        if fault.kind == "accept_then_fail":
            self._real_answer(environ)
        elif fault.kind != "status":
            raise ConnectionResetError("closed by a sandbox fault")
        if fault.answer == "reset":
            raise ConnectionResetError("closed by a sandbox fault, after it was carried out")
        return failure(fault)

    def _real_answer(self, environ: "WSGIEnvironment") -> Response:
        return Response.from_app(self._app, environ, buffered=True)
