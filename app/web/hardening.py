"""Says with every answer that it is not to be kept, and is nothing but what it says it is.

Done around Flask, so that no answer goes without it. This module must not know any route.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# Unless a view says something else of its answer.
_UNLESS_SAID = {
    "x-content-type-options": ("X-Content-Type-Options", "nosniff"),
    "cache-control": ("Cache-Control", "no-store"),
}


def hardened(app: WSGIApplication) -> WSGIApplication:
    """The application, with these headers where an answer has none of their name."""

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return app(environ, _telling(start_response))

    return serve


def _telling(start_response: StartResponse) -> StartResponse:
    def start(status: str, headers: list[tuple[str, str]], *more: object) -> object:
        missing = {**_UNLESS_SAID}
        for name, _ in headers:
            missing.pop(name.lower(), None)
        return start_response(status, [*headers, *missing.values()], *more)  # type: ignore[arg-type]

    return start  # type: ignore[return-value]
