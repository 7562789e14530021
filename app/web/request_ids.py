"""Gives each request a name that stands in its answer and in every log line about it.

A caller, or a router in front of us, may bring one along as `X-Request-ID`; one that is no plain
word is not taken over, because it goes into logs. A trace that the caller is in is taken over the
same way (https://www.w3.org/TR/trace-context-1/). This module must not know any route.
"""

from __future__ import annotations

import re
import secrets
from itertools import count

import structlog
from flask import Flask, Response, g, request

from app.observability import tracing

HEADER = "X-Request-ID"

# Random once in each process, then counted: asking the system for chance costs more than the rest.
_PROCESS = secrets.token_hex(8)
_numbers = count(1)
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}")


def register(app: Flask) -> None:
    """Name each request before anything else is done with it."""
    app.before_request(_name)
    app.after_request(_tell)
    app.teardown_request(_forget)


def _name() -> None:
    # As WSGI has them: the door is in a hurry, and `request.headers` is made anew for each look.
    headers = request.environ
    brought = headers.get("HTTP_X_REQUEST_ID", "")
    g.request_id = brought if _PLAIN.fullmatch(brought) else _made_up()
    # Under another name than the event's own `requestId`, which is Amplience's.
    structlog.contextvars.bind_contextvars(http_request_id=g.request_id)
    if traceparent := headers.get("HTTP_TRACEPARENT"):
        go_on_from(tracing.read_headers(traceparent, headers.get("HTTP_TRACESTATE")))


def go_on_from(place: tracing.TraceContext | None) -> None:
    """Take this as the request's place in a trace, and name the trace in its log lines."""
    if place:
        g.trace = place
        structlog.contextvars.bind_contextvars(trace_id=place.trace_id)


def _made_up() -> str:
    return f"{_PROCESS}{next(_numbers):016x}"


def _tell(response: Response) -> Response:
    if "request_id" in g:
        response.headers[HEADER] = g.request_id
    return response


def _forget(_error: BaseException | None) -> None:
    # The next request of this thread must not begin with this one's name.
    structlog.contextvars.unbind_contextvars("http_request_id", "trace_id")
