"""A WSGI application in place of the service, for tests of how gunicorn is set up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer `hello`; at `/slow` after a while."""
    if environ["PATH_INFO"] == "/slow":
        time.sleep(0.6)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"hello"]
