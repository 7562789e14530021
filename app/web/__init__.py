"""The world's door: receives webhooks, says how the service is, and shows it to its operator.

A view is glue: it calls the rooms below and turns what they say into HTTP. Nothing here decides
what an event means, and nothing calls another service inside a request, except the test of a
destination that an operator asks for.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal

import structlog
from flask import Flask

from app.observability import tracing
from app.web import api, dashboard, errors, health, limits, metrics, request_ids, spans, webhooks
from app.web.auth import AdminGate
from app.web.headers import hardened
from app.web.limits import MAX_BODY
from app.web.services import DoorLedger, DoorServices

Guard = Literal["signature", "admin", "admin-session", "open"]

# Who may use the routes of each blueprint, by its name. A test fails on a route that is not here.
GUARDS: dict[str, Guard] = {
    webhooks.NAME: "signature",
    health.NAME: "open",
    metrics.NAME: "admin",
    api.NAME: "admin",
    # What the API can do, not what is in it; not there without an admin token.
    api.DOCUMENTS: "open",
    dashboard.PAGES: "admin-session",
    dashboard.ACTIONS: "admin-session",
    # The login form and the style sheet; not there without an admin token.
    dashboard.DOOR: "open",
}

_log = structlog.get_logger(__name__)


class _App(Flask):
    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Nothing here is a coroutine, and Flask would ask that of each hook at each request."""
        return func

    def log_exception(
        self,
        exc_info: tuple[type, BaseException, TracebackType] | tuple[None, None, None],
    ) -> None:
        """Log a fault of ours once, and as structured as every other line."""
        _log.error("unhandled-exception", exc_info=exc_info)


def create_app(services: DoorServices) -> Flask:
    """The WSGI application. It opens nothing by itself: `services` has what it needs."""
    # Without a static folder there is no route that no blueprint guards.
    app = _App(__name__, static_folder=None)
    # As Flask wants a middleware to be put around it; its own hooks cost several times as much.
    around = hardened(request_ids.named(app.wsgi_app))
    app.wsgi_app = around  # type: ignore[assignment,method-assign]
    if tracing.is_on():
        spans.register(app, blueprint=webhooks.NAME)
    limits.register(app)
    errors.register(app)
    app.register_blueprint(webhooks.build(services))
    app.register_blueprint(health.build(services))
    gate = AdminGate(services.settings.admin_token)
    app.register_blueprint(metrics.build(services, gate))
    api.register(app, services, gate)
    if services.settings.admin_token:
        dashboard.mount(app, services, gate)
    return app


__all__ = ["GUARDS", "MAX_BODY", "DoorLedger", "DoorServices", "Guard", "create_app"]
