"""The web part with the fault that it is built to avoid: it answers before the event is stored.

A process that ends in between has accepted an event that nobody acts on. Only the drill starts
this, to show that it would find such a fault: `gunicorn tools.drill.broken:app`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from io import BytesIO
from typing import TYPE_CHECKING, Any

from werkzeug.test import run_wsgi_app

from app.web.wsgi import app as sound

if TYPE_CHECKING:
    from wsgiref.types import StartResponse

# As long as a call to a broker or to a second database would take.
BETWEEN = 0.05


def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Answer a webhook 202 at once and store it later; serve everything else as it is."""
    if environ["PATH_INFO"] != "/webhooks":
        return sound(environ, start_response)
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    later = {**environ, "wsgi.input": BytesIO(body)}
    threading.Timer(BETWEEN, run_wsgi_app, (sound, later)).start()
    start_response("202 ACCEPTED", [("Content-Length", "0")])
    return []
