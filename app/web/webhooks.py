"""Receives webhooks: who is knocking, what do they say, write it down, answer.

The order is the contract: size, method and content type, signature over the raw bytes, JSON and
envelope, the event's schema, commit. Nothing is parsed before its signature has been checked, and
nothing is answered 2xx before its commit.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import structlog
from flask import Blueprint, Response, g, request

from app.config import Hub, Settings
from app.errors import WebhookRejected
from app.events import WebhookEvent, isoformat, without_future_dates
from app.observability import count_webhook, tracing
from app.rules import match
from app.schemas import load_event
from app.signature import HEADER, verify
from app.web.limits import whole_body
from app.web.request_ids import trace
from app.web.services import DoorServices

NAME = "webhooks"

_STATUS = {"accepted": 202, "ignored": 202, "duplicate": 200}

_log = structlog.get_logger(__name__)


def _utc_now() -> datetime:
    return datetime.now(UTC)


def build(services: DoorServices, *, now: Callable[[], datetime] = _utc_now) -> Blueprint:
    """The blueprint of `POST /webhooks` and `POST /webhooks/{hub}`."""
    blueprint = Blueprint(NAME, __name__)
    settings = services.settings

    @blueprint.post("/webhooks")
    @blueprint.post("/webhooks/<hub>")
    def receive(hub: str | None = None) -> Response:
        body = whole_body()
        sender = _hub(settings, hub)
        said: dict[str, Any] = {"hub": sender.key}
        g.webhook = said
        _check_content_type()
        verify(body, request.headers.get(HEADER), sender.webhook_secrets)
        event = _dated(load_event(body, hub=sender.key), now())
        if place := trace():
            event = replace(event, trace=tracing.to_keep(place))
        said.update(event_id=event.id, name=event.name)
        plans = match(event, settings.rules, settings.destinations)
        accepted = services.ledger.accept(event, plans)
        if accepted.status == "conflict":
            raise _conflict()
        g.reason = accepted.status
        said.update(jobs=accepted.jobs)
        answer = {"id": event.id, "status": accepted.status, "jobs": accepted.jobs}
        return Response(
            json.dumps(answer), status=_STATUS[accepted.status], content_type="application/json"
        )

    blueprint.after_request(_report)
    return blueprint


def _dated(event: WebhookEvent, now: datetime) -> WebhookEvent:
    event, future = without_future_dates(event, now)
    for name, date in future.items():
        _log.warning("webhook.future-date", event_id=event.id, field=name, date=isoformat(date))
    return event


def _hub(settings: Settings, key: str | None) -> Hub:
    if key is None and len(settings.hubs) == 1:
        return settings.hubs[0]
    if key is None:
        raise WebhookRejected(
            status=404,
            reason="hub-missing",
            detail="This service serves several hubs. Send to /webhooks/{hub}, with the hub's key.",
        )
    hub = settings.hub(key)
    if hub is None:
        # Which hubs there are is nobody's business before a signature has been checked.
        raise WebhookRejected(status=404, reason="unknown-hub", detail="There is no such hub here.")
    return hub


def _check_content_type() -> None:
    # Amplience lets custom headers replace the content type, and parameters do no harm.
    kind = request.mimetype
    if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        return
    raise WebhookRejected(
        status=415,
        reason="content-type-unsupported",
        detail="Send the webhook as application/json.",
    )


def _conflict() -> WebhookRejected:
    # The signature covers no time, so an id that comes back with other content may be a forgery
    # from pieces, or two webhooks that a custom payload gave one id. It is kept for the operator.
    return WebhookRejected(
        status=409,
        reason="id-conflict",
        detail="An event with this id and another payload is known. This one is kept aside.",
    )


def _report(response: Response) -> Response:
    """One line per webhook: what it was and what became of it, never its body."""
    fields: dict[str, Any] = {"event_id": None, "hub": None, "name": None, "jobs": 0}
    fields.update(g.get("webhook", {}))
    reason = g.get("reason", "unknown")
    count_webhook(reason)
    _log.log(
        _level(response.status_code),
        "webhook",
        status=response.status_code,
        reason=reason,
        **fields,
    )
    return response


def _level(status: int) -> int:
    if status < 400:
        return logging.INFO
    return logging.WARNING if status < 500 else logging.ERROR
