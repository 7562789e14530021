"""A pretend downstream: takes any request, remembers it, and answers 200.

It stands for any system that content is forwarded to, and knows nothing about content.
"""

import time
from collections import deque

from flask import Blueprint, Response, jsonify, request

from sandbox.core import Core
from sandbox.errors import Json
from sandbox.models import Received, timestamp
from sandbox.state import LOG_LIMIT, State

VERBS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
LONGEST_WAIT = 60


def create_downstream(core: Core) -> Blueprint:
    """Make the routes that receive."""
    state = core.state
    routes = Blueprint("downstream", __name__, url_prefix="/downstream")

    @routes.route("/<name>", methods=VERBS)
    @routes.route("/<name>/<path:rest>", methods=VERBS)
    def receive(name: str, rest: str = "") -> Response:
        query = f"?{request.query_string.decode()}" if request.query_string else ""
        received = Received(
            method=request.method,
            path=f"/{rest}{query}",
            headers=dict(request.headers),
            body=request.get_data(),
            time=state.now(),
        )
        with state.lock:
            state.downstream.setdefault(name, deque(maxlen=LOG_LIMIT)).append(received)
            state.changed.notify_all()
        return jsonify({})

    return routes


def received(state: State, name: str, *, at_least: int = 0, timeout: float = 5) -> list[Received]:
    """List what reached a downstream, waiting a while for so many requests."""
    deadline = time.monotonic() + min(timeout, LONGEST_WAIT)
    with state.changed:
        while len(state.downstream.get(name, ())) < at_least:
            left = deadline - time.monotonic()
            if left <= 0 or not state.changed.wait(left):
                break
        return list(state.downstream.get(name, ()))


def shown(one: Received) -> Json:
    """Write one received request."""
    return {
        "method": one.method,
        "path": one.path,
        "headers": one.headers,
        "body": one.body.decode(errors="replace"),
        "received_at": timestamp(one.time),
    }
