"""`/rules`: what is configured; `/explain`: which rules want an event, and why not the others."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from flask import request

from app.config import ForwardSpec, LocalizeSpec, Rule, Settings
from app.errors import NoSuchRecord
from app.events import WebhookEvent
from app.queue.operator import reread
from app.queue.search import read_event
from app.rules import Explanation, Plan, explain, match
from app.schemas import load_event
from app.web.api import schemas
from app.web.api.fields import ID_PATH
from app.web.api.seam import ApiBlueprint
from app.web.limits import whole_body
from app.web.refusals import RequestRefused
from app.web.services import OperatorServices

TAG = "rules"

_HUB = {
    "name": "hub",
    "in": "query",
    "description": "The hub's key; needed where there are several.",
    "schema": {"type": "string"},
}
_WEBHOOK = {
    "description": "A webhook as Amplience sends it; it needs no signature.",
    "required": True,
    "content": {"application/json": {"schema": {"type": "object"}}},
}


@dataclass(frozen=True)
class Explained:
    """What the rules make of an event."""

    event_id: str
    name: str
    hub: str
    item_id: str | None
    rules: list[Explanation]
    plans: list[Plan]


def explained(event: WebhookEvent, settings: Settings) -> Explained:
    """Ask every rule about an event; stores and does nothing."""
    return Explained(
        event_id=event.id,
        name=event.name,
        hub=event.hub,
        item_id=event.item_id,
        rules=explain(event, settings.rules),
        plans=match(event, settings.rules, settings.destinations),
    )


def described(rule: Rule) -> dict[str, Any]:
    """A rule as plain structures."""
    match rule.action:
        case LocalizeSpec():
            action = "localize"
        case ForwardSpec():
            action = "forward"
        case _:
            action = "unpublish"
    return {
        "name": rule.name,
        "hub": rule.hub,
        "events": list(rule.events),
        "action": action,
        "arguments": asdict(rule.action),
        "where": {name: globs for name, globs in asdict(rule.where).items() if globs},
        "match": [asdict(condition) for condition in rule.match],
    }


def add_to(blueprint: ApiBlueprint, services: OperatorServices) -> None:
    """Mount the operations on rules."""
    storage, settings = services.storage, services.settings

    @blueprint.operation("/rules", tag=TAG, answers=schemas.RuleList())
    def list_rules() -> dict[str, Any]:
        """List the rules as they are configured, in order."""
        return {"rules": [described(rule) for rule in settings.rules]}

    @blueprint.operation(
        "/explain",
        method="POST",
        tag=TAG,
        answers=schemas.Explained(),
        described={"parameters": [_HUB], "requestBody": _WEBHOOK},
    )
    def explain_body() -> Explained:
        """Tell which rules want a webhook, and why not the others. Nothing is stored or done."""
        hub = _hub(settings, request.args.get("hub"))
        return explained(load_event(whole_body(), hub=hub), settings)

    @blueprint.operation(f"/events/{ID_PATH}/explanation", tag=TAG, answers=schemas.Explained())
    def explain_event(identifier: int) -> Explained:
        """Tell which of today's rules want an event of the ledger, and why not the others."""
        return explained(reread(read_event(storage, identifier)), settings)


def _hub(settings: Settings, key: str | None) -> str:
    if key is None and len(settings.hubs) == 1:
        return settings.hubs[0].key
    if key is None:
        raise RequestRefused(
            status=422, reason="hub-missing", detail="There are several hubs: say `hub`."
        )
    if settings.hub(key) is None:
        raise NoSuchRecord("unknown-hub", "There is no such hub here.")
    return key
