"""The part of the Management API that registers webhooks and shows what was sent to them.

Rules: https://amplience.com/developers/docs/integrations/webhooks/
"""

import base64
import json
import secrets

from flask import Blueprint, Response, jsonify, request

from sandbox import hal
from sandbox.errors import Json, management_error, not_found
from sandbox.models import WebhookRequest, new_hex, timestamp
from sandbox.state import State
from sandbox.webhooks import EVENT_TYPES

PREFIX = "/hubs/<hub_id>/webhooks"
MAX_FILTERS = 10
DEFAULT_LIMIT = 20


def new_webhook(state: State, given: Json) -> Json:
    """Register a webhook; what is not given gets Amplience's defaults."""
    now = timestamp(state.now())
    webhook: Json = {
        "id": new_hex(),
        "label": "",
        "events": [],
        "active": True,
        "handlers": [],
        "notifications": [],
        "secret": secrets.token_urlsafe(24),
        "createdDate": now,
        "lastModifiedDate": now,
        "headers": [],
        "filters": [],
        "method": "POST",
    }
    webhook.update(checked(given))
    with state.lock:
        state.webhooks[webhook["id"]] = webhook
    return webhook


def checked(given: Json) -> Json:
    """Refuse what Amplience would refuse in a webhook, and pass on the rest."""
    if unknown := [name for name in given.get("events", []) if name not in EVENT_TYPES]:
        raise refused("events", f"Unknown event {unknown[0]}.")
    if given.get("method", "POST") not in {"POST", "PUT", "PATCH", "DELETE"}:
        raise refused("method", "The method must be POST, PUT, PATCH or DELETE.")
    if len(given.get("filters", [])) > MAX_FILTERS:
        raise refused("filters", f"Cannot exceed the maximum of {MAX_FILTERS} filters")
    if len(given.get("notifications", [])) > 1:
        raise refused("notifications", "Cannot exceed the maximum of 1 notification")
    for rule in given.get("filters", []):
        try:
            known = rule["type"] in {"equal", "in"}
            value = rule["arguments"][1]["value"]
            complete = rule["arguments"][0]["jsonPath"] and (
                isinstance(value, list) == (rule["type"] == "in")
            )
        except (KeyError, IndexError, TypeError):
            known = complete = False
        if not (known and complete):
            raise refused("filters", "A filter needs a type, a jsonPath and a value.")
    return {name: value for name, value in given.items() if name not in {"id", "_links"}}


def refused(name: str, message: str) -> Exception:
    """Refuse one field of a webhook."""
    return management_error(400, "BAD_REQUEST", message, property=name)


def shown_request(one: WebhookRequest) -> Json:
    """Write one entry of the log. Amplience does not document its shape."""
    return {
        "id": one.id,
        "webhookId": one.webhook_id,
        "event": one.envelope["name"],
        "eventId": one.envelope["id"],
        "createdDate": timestamp(one.created),
        "status": one.status,
        "statusCode": one.attempts[-1]["status"] if one.attempts else None,
        "attempts": list(one.attempts),
        "request": {"url": one.url, "method": one.method, "body": one.body.decode()},
    }


def log_page(rows: list[WebhookRequest]) -> Json:
    """Write the page of the log that the query asks for, newest first, with a cursor."""
    limit = hal.whole_number("limit", DEFAULT_LIMIT, least=1)
    try:
        cursor = request.args.get("cursor")
        start = int(json.loads(base64.urlsafe_b64decode(cursor))["start"]) if cursor else 0
    except (ValueError, KeyError, TypeError) as error:
        raise management_error(400, "BAD_REQUEST", "The cursor is not valid.") from error
    page: Json = {}
    if start + limit < len(rows):
        following = json.dumps({"start": start + limit}).encode()
        page["cursor"] = base64.urlsafe_b64encode(following).decode()
    shown = [shown_request(one) for one in rows[start : start + limit]]
    return {"_embedded": {"requests": shown}, "page": page}


def check_hub(state: State, hub_id: str) -> None:
    """Refuse any hub but the sandbox's own."""
    if hub_id != state.options.hub_id:
        raise not_found("Hub")


def stored(state: State, hub_id: str, webhook_id: str) -> Json:
    """Find a webhook of the hub, or refuse with 404."""
    check_hub(state, hub_id)
    if webhook_id not in state.webhooks:
        raise not_found("Webhook")
    return state.webhooks[webhook_id]


def add_webhook_routes(routes: Blueprint, state: State) -> None:
    """Add create, read, change and delete of webhooks."""

    @routes.get(PREFIX)
    def list_webhooks(hub_id: str) -> Json:
        check_hub(state, hub_id)
        rows = list(state.webhooks.values())
        return hal.page_of("webhooks", rows, lambda one: hal.webhook(state, one))

    @routes.post(PREFIX)
    def create_webhook(hub_id: str) -> tuple[Response, int]:
        check_hub(state, hub_id)
        return jsonify(hal.webhook(state, new_webhook(state, hal.given()))), 201

    @routes.get(PREFIX + "/<webhook_id>")
    def get_webhook(hub_id: str, webhook_id: str) -> Json:
        return hal.webhook(state, stored(state, hub_id, webhook_id))

    @routes.patch(PREFIX + "/<webhook_id>")
    def update_webhook(hub_id: str, webhook_id: str) -> Json:
        with state.lock:
            webhook = stored(state, hub_id, webhook_id)
            webhook.update(checked(hal.given()))
            webhook["lastModifiedDate"] = timestamp(state.now())
            return hal.webhook(state, webhook)

    @routes.delete(PREFIX + "/<webhook_id>")
    def delete_webhook(hub_id: str, webhook_id: str) -> Response:
        with state.lock:
            del state.webhooks[stored(state, hub_id, webhook_id)["id"]]
        return Response(status=204)


def add_log_routes(routes: Blueprint, state: State) -> None:
    """Add the names of the events, and what was sent to a webhook."""

    @routes.get(PREFIX + "/event-types")
    def list_event_types(hub_id: str) -> Json:
        check_hub(state, hub_id)
        return {"eventTypes": list(EVENT_TYPES)}

    @routes.get(PREFIX + "/<webhook_id>/requests")
    def list_requests(hub_id: str, webhook_id: str) -> Json:
        webhook = stored(state, hub_id, webhook_id)
        excluded = request.args.get("excludeStatus")
        with state.lock:
            rows = [
                one
                for one in reversed(state.webhook_requests)
                if one.webhook_id == webhook["id"] and one.status != excluded
            ]
            return log_page(rows)
