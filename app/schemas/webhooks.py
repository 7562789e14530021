"""One marshmallow schema per webhook event name, and the one way in: `load_event`.

Only what a job cannot do without is required
(https://amplience.com/developers/docs/integrations/webhooks/payloads/): the event's `id` and
`name`, and the id of what it is about. The rest may be missing, null or new.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError

from app import events
from app.errors import WebhookRejected
from app.events import RootItem, WebhookEvent
from app.schemas.fields import (
    LONGEST_IDENTIFIER,
    Identifier,
    Integer,
    Moment,
    Part,
    Required,
    Several,
    Text,
)
from app.schemas.strictjson import parse

_ENVELOPE_KEYS = ("id", "name", "payload")
# Like `dynamic-content.content-item.created`, and unlike an item's label in a custom payload.
_EVENT_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+")


class _WebhookSchema(Schema):
    class Meta:
        unknown = EXCLUDE


class _Meta(_WebhookSchema):
    schema = Text()


class _Body(_WebhookSchema):
    meta = Part(_Meta, data_key="_meta")


class _ContentItem(_WebhookSchema):
    """The content item, with its body; an archived one arrives as updated with that status."""

    item_id = Identifier(required=True, data_key="id")
    label = Text()
    locale = Text(longest=LONGEST_IDENTIFIER)
    status = Text(longest=LONGEST_IDENTIFIER)
    repository_id = Text(longest=LONGEST_IDENTIFIER, data_key="contentRepositoryId")
    last_modified = Moment(data_key="lastModifiedDate")
    body = Part(_Body)


class _RootContentItem(_WebhookSchema):
    item_id = Identifier(required=True, data_key="id")
    label = Text()
    schema = Text(data_key="contentTypeUri")


class _Snapshot(_WebhookSchema):
    """A publication. It has no body of the items, and its own id is none of theirs.

    It names its root items in a list, or the only one beside or without a list.
    """

    snapshot_id = Identifier(required=True, data_key="id")
    snapshot_created = Moment(data_key="createdDate")
    locale = Text(longest=LONGEST_IDENTIFIER)
    roots = Several(_RootContentItem, data_key="rootContentItems")
    root = Required(_RootContentItem, data_key="rootContentItem", unless="rootContentItems")


class _Edition(_WebhookSchema):
    """An edition: its id is required, but it is no content item, so no job needs it."""

    edition_id = Identifier(required=True, data_key="id")
    last_modified = Moment(data_key="lastModifiedDate")


class _Envelope(_WebhookSchema):
    id = Identifier(required=True)
    name = Identifier(required=True)
    request_id = Text(longest=LONGEST_IDENTIFIER, data_key="requestId")
    sequence_id = Integer(data_key="sequenceId")
    resource = Text(longest=LONGEST_IDENTIFIER)


class _ContentItemEvent(_Envelope):
    payload = Required(_ContentItem)


class _SnapshotEvent(_Envelope):
    payload = Required(_Snapshot)


class _EditionEvent(_Envelope):
    payload = Required(_Edition)


def _of_item(found: dict[str, Any]) -> dict[str, Any]:
    body = found.pop("body") or {}
    return {**found, "schema": (body.get("meta") or {}).get("schema")}


def _of_snapshot(found: dict[str, Any]) -> dict[str, Any]:
    roots = {one["item_id"]: one for one in found.pop("roots") or [found["root"]]}
    del found["root"]
    first, *others = roots.values()
    if others:
        found["items"] = tuple(
            RootItem(one["item_id"], one["schema"], one["label"]) for one in roots.values()
        )
    return {**first, **found}


def _of_edition(found: dict[str, Any]) -> dict[str, Any]:
    del found["edition_id"]
    return found


def _of_unknown(_: dict[str, Any]) -> dict[str, Any]:
    return {}


# How an event is read, and what of its payload is the event's. Schemas keep no state between loads,
# so one of each serves every thread; a function costs less than one of marshmallow's hooks.
_Reading = tuple[Schema, Callable[[dict[str, Any]], dict[str, Any]]]
_UNKNOWN_EVENT: _Reading = _Envelope(), _of_unknown
_EVENTS: dict[str, _Reading] = {
    events.CONTENT_ITEM_CREATED: (_ContentItemEvent(), _of_item),
    events.CONTENT_ITEM_UPDATED: (_ContentItemEvent(), _of_item),
    events.CONTENT_ITEM_ASSIGNED: (_ContentItemEvent(), _of_item),
    events.CONTENT_ITEM_WORKFLOW_UPDATED: (_ContentItemEvent(), _of_item),
    events.EDITION_SCHEDULED: (_EditionEvent(), _of_edition),
    events.EDITION_UNSCHEDULED: (_EditionEvent(), _of_edition),
    events.EDITION_PUBLISHED: (_EditionEvent(), _of_edition),
    events.SNAPSHOT_PUBLISHED: (_SnapshotEvent(), _of_snapshot),
}


def load_event(body: bytes, *, hub: str) -> WebhookEvent:
    """The webhook event in a body whose signature has been checked.

    `hub` is our key of the hub that sent it. Raises nothing but `WebhookRejected`: 400 with reason
    `body-not-utf8`, `body-not-json`, `body-too-deep` or `envelope-missing`; 422 with
    `payload-invalid` and the places in `fields`. An event name that nobody knows is not a fault:
    the event then has its `id` and `name` only.
    """
    message = parse(body)
    _check_envelope(message)
    name = message.get("name")
    schema, lift = _EVENTS.get(name, _UNKNOWN_EVENT) if isinstance(name, str) else _UNKNOWN_EVENT
    try:
        found = schema.load(message)
    except ValidationError as error:
        raise _invalid(error) from error
    payload = message.get("payload")
    found.update(lift(found.pop("payload", {})))
    return WebhookEvent(
        hub=hub, body=body, payload=payload if isinstance(payload, Mapping) else {}, **found
    )


def _check_envelope(message: Any) -> None:
    if isinstance(message, dict):
        present = [key for key in _ENVELOPE_KEYS if key in message]
        if len(present) == len(_ENVELOPE_KEYS):
            return
        # An event that nobody knows may come without a payload, but then it is named like one.
        named = isinstance(name := message.get("name"), str) and _EVENT_NAME.fullmatch(name)
        if len(present) > 1 and ("payload" in present or named):
            return
    raise WebhookRejected(
        status=400,
        reason="envelope-missing",
        detail=(
            "The body has no webhook envelope (an object with id, name and payload). A custom"
            " payload on the webhook in Amplience replaces the envelope: remove it there, so that"
            " the standard payload is sent."
        ),
    )


def _invalid(error: ValidationError) -> WebhookRejected:
    places = dict(_places(error.messages, ()))
    return WebhookRejected(
        status=422,
        reason="payload-invalid",
        detail=f"The event lacks what is needed to act on it: {', '.join(places)}.",
        fields=places,
    )


def _places(messages: Any, path: tuple[str, ...]) -> list[tuple[str, list[str]]]:
    """Marshmallow's tree of messages as pairs of a dotted place and its messages."""
    if isinstance(messages, dict):
        return [
            pair
            for key, below in messages.items()
            # `_schema` is marshmallow's word for the object itself.
            for pair in _places(below, path if key == "_schema" else (*path, str(key)))
        ]
    return [(".".join(path), [str(message) for message in messages])]
