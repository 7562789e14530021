"""Gives each request a name that stands in its answer and in every log line about it.

A caller, or a router in front of us, may bring one along as `X-Request-ID`; one that is no plain
word is not taken over, because it goes into logs. This module must not know any route.
"""

from __future__ import annotations

import re
import secrets
from itertools import count

import structlog
from flask import Flask, Response, g, request

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
    brought = request.headers.get(HEADER, "")
    g.request_id = brought if _PLAIN.fullmatch(brought) else _made_up()
    # Under another name than the event's own `requestId`, which is Amplience's.
    structlog.contextvars.bind_contextvars(http_request_id=g.request_id)


def _made_up() -> str:
    return f"{_PROCESS}{next(_numbers):016x}"


def _tell(response: Response) -> Response:
    if "request_id" in g:
        response.headers[HEADER] = g.request_id
    return response


def _forget(_error: BaseException | None) -> None:
    # The next request of this thread must not begin with this one's name.
    structlog.contextvars.unbind_contextvars("http_request_id")
