"""Adds headers to answers around Flask, whose own hooks cost several times as much.

So no answer goes without those that say that it is not to be kept, and is nothing but what it says
it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_HARDENING = (("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-store"))


def hardened(app: WSGIApplication) -> WSGIApplication:
    """The application, whose answers are hardened unless a view says something else of its own."""

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return app(environ, adding(start_response, *_HARDENING))

    return serve


def adding(start_response: StartResponse, *wanted: tuple[str, str]) -> StartResponse:
    """Begin an answer with these headers too, but for those whose name it has already."""

    def start(status: str, headers: list[tuple[str, str]], *more: object) -> object:
        said = {name.lower() for name, _ in headers}
        added = [header for header in wanted if header[0].lower() not in said]
        return start_response(status, [*headers, *added], *more)  # type: ignore[arg-type]

    return start  # type: ignore[return-value]
