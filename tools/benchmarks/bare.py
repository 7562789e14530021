"""The floor to compare with: a Flask route that checks the signature, answers 202, stores nothing.

Served by the same gunicorn with the same settings as the service's own door.
"""

from __future__ import annotations

import os

from flask import Flask, Response, request

from app.signature import HEADER, verify

_secrets = (os.environ["WEBHOOK_SECRET"],)
app = Flask(__name__, static_folder=None)


@app.post("/webhooks")
def receive() -> Response:
    verify(request.get_data(), request.headers.get(HEADER), _secrets)
    return Response('{"status":"accepted"}', status=202, content_type="application/json")


@app.get("/healthz")
def healthz() -> str:
    return "ok"
