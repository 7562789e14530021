"""The sandbox's own pages: look inside it, move its clock, switch faults on, send by hand.

Everything here is under /sandbox and has no counterpart at Amplience.
"""

import math

from flask import Blueprint, Response, jsonify, request

from sandbox import downstream, hal
from sandbox.core import Core
from sandbox.errors import Json, control_error
from sandbox.models import Call, Item, Snapshot, new_hex, timestamp
from sandbox.state import State
from sandbox.subscriptions import shown_request
from sandbox.webhooks import EVENT_TYPES


def given() -> Json:
    """Read the JSON object that was sent, or refuse with 400."""
    body = request.get_json(silent=True, force=True) if request.get_data() else {}
    if not isinstance(body, dict):
        raise control_error("body", "write a JSON object")
    return body


def create_control(core: Core) -> Blueprint:
    """Make the control routes."""
    routes = Blueprint("control", __name__, url_prefix="/sandbox")
    add_looking(routes, core)
    add_acting(routes, core)
    add_sending(routes, core)
    add_faults(routes, core)
    add_downstream(routes, core.state)
    return routes


def shown_item(state: State, item: Item) -> Json:
    """Write an item for the reader of the whole state."""
    variants = {
        str(other.locale): other.id for other in state.variants(item) if other.id != item.id
    }
    return {
        "id": item.id,
        "label": item.label,
        "schema": item.schema,
        "locale": item.locale,
        "version": item.version,
        "status": item.status,
        "publishingStatus": item.publishing_status,
        "contentRepositoryId": item.repository_id,
        "variants": variants,
    }


def shown_call(call: Call) -> Json:
    """Write one entry of the log of calls."""
    return {
        "where": call.where,
        "method": call.method,
        "path": call.path,
        "query": call.query,
        "status": call.status,
        "fault": call.fault,
        "time": timestamp(call.time),
        "traceparent": call.traceparent,
        "json": call.json,
    }


def add_looking(routes: Blueprint, core: Core) -> None:
    """Add what only reads."""
    state = core.state

    @routes.get("/state")
    def show_state() -> Json:
        with state.lock:
            return {
                "time": timestamp(state.now()),
                "busy": core.busy,
                "counts": {
                    "items": len(state.items),
                    "published": len(state.published),
                    "snapshots": len(state.snapshots),
                    "localizationJobs": len(state.localization_jobs),
                    "publishingJobs": len(state.publishing_jobs),
                    "tokenRequests": state.token_requests,
                    "calls": len(state.calls),
                    "webhookRequests": len(state.webhook_requests),
                    "downstream": {name: len(got) for name, got in state.downstream.items()},
                },
                "items": [shown_item(state, item) for item in state.items.values()],
                "webhooks": [hal.webhook(state, one) for one in state.webhooks.values()],
                "faults": core.faults.listed(),
            }

    @routes.get("/calls")
    def list_calls() -> Json:
        where, part = request.args.get("where"), request.args.get("path", "")
        with state.lock:
            calls = [
                shown_call(call)
                for call in state.calls
                if where in {None, call.where} and part in call.path
            ]
        return {"calls": calls, "count": len(calls)}

    @routes.delete("/calls")
    def forget_calls() -> Response:
        with state.lock:
            state.calls.clear()
        return Response(status=204)

    @routes.get("/webhook-requests")
    def list_webhook_requests() -> Json:
        with state.lock:
            return {"requests": [shown_request(one) for one in state.webhook_requests]}


def add_acting(routes: Blueprint, core: Core) -> None:
    """Add what moves the sandbox."""
    state = core.state

    @routes.post("/clock")
    def move_clock() -> Json:
        seconds = given().get("advance")
        if not isinstance(seconds, (int, float)) or not math.isfinite(seconds) or seconds < 0:
            raise control_error("advance", "write a number of seconds from 0 up")
        state.advance(seconds)
        return {"time": timestamp(state.now())}

    @routes.post("/publish")
    def publish() -> tuple[Response, int]:
        ids = given().get("item_ids")
        if not isinstance(ids, list) or not ids or not all(isinstance(one, str) for one in ids):
            raise control_error("item_ids", "write a list of ids of content items")
        job = core.content.publish(*ids)
        return jsonify({"id": job.id, "snapshotId": job.snapshot_id}), 202

    @routes.post("/reset")
    def reset() -> Response:
        core.reset()
        return Response(status=204)

    @routes.post("/tokens/expire")
    def expire_tokens() -> Json:
        with state.lock:
            count = len(state.tokens)
            state.tokens.clear()
            if given().get("personal_access_token"):
                state.personal_access_token_valid = False
        return {"expired": count}


def add_sending(routes: Blueprint, core: Core) -> None:
    """Add the sending of events by hand."""

    @routes.post("/webhooks/send")
    def send_webhook() -> Json:
        asked = given()
        name, times = asked.get("name"), asked.get("times", 1)
        if name not in EVENT_TYPES:
            raise control_error("name", f"write one of {', '.join(EVENT_TYPES)}")
        if not isinstance(times, int) or times < 1:
            raise control_error("times", "write a whole number from 1 up")
        payload = asked.get("payload") or default_payload(core.state, name, asked.get("item_id"))
        return {"requests": core.sender.emit(name, payload, event_id=asked.get("id"), times=times)}


def default_payload(state: State, name: str, item_id: object) -> Json:
    """Make the payload that Amplience would send for an item."""
    if ".edition." in name:
        raise control_error("payload", "write the edition, as the sandbox has none")
    with state.lock:
        item = state.items.get(str(item_id))
        if item is None:
            raise control_error("item_id", "write the id of a content item, or give a payload")
        resource = hal.item(state, item)
        if not name.endswith("snapshot.published"):
            return resource
        for snapshot in reversed(state.snapshots.values()):
            if item.id in snapshot.root_ids:
                return hal.snapshot(state, snapshot)
        made = Snapshot(
            new_hex(), item.id, state.now(), state.user, "Sent by hand", {item.id: resource}
        )
        return hal.snapshot(state, made)


def add_faults(routes: Blueprint, core: Core) -> None:
    """Add the switches of faults."""

    @routes.post("/faults")
    def add_fault() -> tuple[Response, int]:
        return jsonify({"id": core.faults.add(**given())}), 201

    @routes.get("/faults")
    def list_faults() -> Json:
        return {"faults": core.faults.listed()}

    @routes.delete("/faults")
    def clear_faults() -> Response:
        core.faults.clear()
        return Response(status=204)

    @routes.delete("/faults/<fault_id>")
    def remove_fault(fault_id: str) -> Response:
        return Response(status=204 if core.faults.remove(fault_id) else 404)


def add_downstream(routes: Blueprint, state: State) -> None:
    """Add the reading of what the pretend downstream received."""

    @routes.get("/downstream/<name>")
    def show(name: str) -> Json:
        wait = request.args.get("wait", 0, type=int)
        timeout = request.args.get("timeout", 5.0, type=float)
        got = downstream.received(state, name, at_least=wait, timeout=timeout)
        return {"requests": [downstream.shown(one) for one in got], "count": len(got)}

    @routes.delete("/downstream/<name>")
    def forget(name: str) -> Response:
        with state.lock:
            state.downstream.pop(name, None)
        return Response(status=204)
