"""Gives each request a name that stands in its answer and in every log line about it.

A caller, or a router in front of us, may bring one along as `X-Request-ID`; one that is no plain
word is not taken over, because it goes into logs. A trace that the caller is in is taken over the
same way (https://www.w3.org/TR/trace-context-1/). This is done around Flask, whose own hooks would
cost the door several times as much.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from itertools import count
from typing import TYPE_CHECKING

import structlog
from flask import request

from app.observability import tracing
from app.web.headers import adding

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

HEADER = "X-Request-ID"
_TRACE = "dc_relay.trace"

# Random once in each process, then counted: asking the system for chance costs more than the rest.
_PROCESS = secrets.token_hex(8)
_numbers = count(1)
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}")


def named(app: WSGIApplication) -> WSGIApplication:
    """The application with a name for each request, before anything else is done with it."""

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        brought = environ.get("HTTP_X_REQUEST_ID", "")
        name = brought if _PLAIN.fullmatch(brought) else _made_up()
        # Under another name than the event's own `requestId`, which is Amplience's.
        structlog.contextvars.bind_contextvars(http_request_id=name)
        if traceparent := environ.get("HTTP_TRACEPARENT"):
            place = tracing.read_headers(traceparent, environ.get("HTTP_TRACESTATE"))
            _go_on_from(environ, place)
        try:
            return app(environ, adding(start_response, (HEADER, name)))
        finally:
            # The next request of this thread must not begin with this one's name.
            structlog.contextvars.unbind_contextvars("http_request_id", "trace_id")

    return serve


def go_on_from(place: tracing.SpanContext | None) -> None:
    """Take this as the request's place in a trace, and name the trace in its log lines."""
    _go_on_from(request.environ, place)


def trace() -> tracing.SpanContext | None:
    """The request's place in a trace, if it is in one."""
    place: tracing.SpanContext | None = request.environ.get(_TRACE)
    return place


def _go_on_from(environ: WSGIEnvironment, place: tracing.SpanContext | None) -> None:
    if place:
        environ[_TRACE] = place
        structlog.contextvars.bind_contextvars(trace_id=tracing.trace_id(place))


def _made_up() -> str:
    return f"{_PROCESS}{next(_numbers):016x}"
