"""Values with good defaults for tests: webhooks in Amplience's documented shapes, and settings.

The files in `payloads/` are our own; every id in them is made up.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from app.config import (
    ClientCredentials,
    Destination,
    ForwardSpec,
    Hub,
    LocalizeSpec,
    Rule,
    Settings,
    UnpublishSpec,
)
from app.events import (
    CONTENT_ITEM_CREATED,
    CONTENT_ITEM_UPDATED,
    SNAPSHOT_PUBLISHED,
    WebhookEvent,
)
from app.schemas import load_event
from app.signature import HEADER, sign

PAYLOADS = Path(__file__).parent / "payloads"
HUB = "main"
SECRET = "webhook-secret"


def make_message(
    sample: str = CONTENT_ITEM_CREATED, *, event_id: str | None = None, **payload: Any
) -> dict[str, Any]:
    """A webhook as a dict. `sample` is a file in `payloads/` without its ending: an event name,
    or one with a variation (`….updated.archived`). `payload` replaces fields of the payload;
    `...` removes one."""
    message: dict[str, Any] = json.loads((PAYLOADS / f"{sample}.json").read_bytes())
    if event_id is not None:
        message["id"] = event_id
    for name, value in payload.items():
        if value is ...:
            message["payload"].pop(name, None)
        else:
            message["payload"][name] = value
    return message


def make_body(sample: str = CONTENT_ITEM_CREATED, **changes: Any) -> bytes:
    """The bytes that are sent for `make_message` with the same arguments."""
    return encoded(make_message(sample, **changes))


def encoded(message: Any) -> bytes:
    return json.dumps(message).encode()


def make_event(
    sample: str = CONTENT_ITEM_CREATED, *, hub: str = HUB, **changes: Any
) -> WebhookEvent:
    """The event that comes from `make_body` with the same arguments."""
    return load_event(make_body(sample, **changes), hub=hub)


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    """The headers that Amplience sends with `body`."""
    return {"Content-Type": "application/json", HEADER: sign(body, secret)}


def localize_rule(**changes: Any) -> Rule:
    defaults: dict[str, Any] = {
        "name": "localize",
        "events": (CONTENT_ITEM_CREATED,),
        "action": LocalizeSpec(source_locale="en-GB", locales=("fr-FR", "de-DE")),
    }
    return Rule(**{**defaults, **changes})


def forward_rule(**changes: Any) -> Rule:
    defaults: dict[str, Any] = {
        "name": "forward",
        "events": (SNAPSHOT_PUBLISHED,),
        "action": ForwardSpec(to=("search",)),
    }
    return Rule(**{**defaults, **changes})


def unpublish_rule(**changes: Any) -> Rule:
    defaults: dict[str, Any] = {
        "name": "unpublish",
        "events": (CONTENT_ITEM_UPDATED,),
        "action": UnpublishSpec(to=("search",)),
    }
    return Rule(**{**defaults, **changes})


def make_hub(key: str = HUB, **changes: Any) -> Hub:
    defaults: dict[str, Any] = {
        "webhook_secrets": (SECRET,),
        "id": "66a10b0000000000000000aa",
        "name": "example-hub",
        "credentials": ClientCredentials(client_id="client", client_secret="client-secret"),
    }
    return Hub(key=key, **{**defaults, **changes})


def make_destination(name: str = "search", **changes: Any) -> Destination:
    defaults: dict[str, Any] = {"url": "http://127.0.0.1:9/items", "allow_private": True}
    return Destination(name=name, **{**defaults, **changes})


def make_settings(**changes: Any) -> Settings:
    """One hub, a rule of each action, one destination. Give `database_url` where one is used."""
    defaults: dict[str, Any] = {
        "database_url": "sqlite:///never-opened.db",
        "hubs": (make_hub(),),
        "rules": (localize_rule(), forward_rule(), unpublish_rule()),
        "destinations": (make_destination(),),
    }
    return Settings(**{**defaults, **changes})
