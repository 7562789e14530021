"""Sample webhooks of every event that Amplience sends, in the shapes that it documents.

Each is a file in `samples/`; every id in them is made up
(https://amplience.com/developers/docs/integrations/webhooks/payloads/).
"""

from __future__ import annotations

import difflib
import json
import uuid
from collections.abc import Mapping
from importlib.resources import files

from app.events import KNOWN_EVENT_NAMES

_PREFIX = "dynamic-content."
# What the samples contain wherever they name the content item; editions name none.
_IN_SAMPLES = {
    "item": "400a7049-4769-54f7-ad04-80ef82291f20",
    "label": "Autumn banner",
    "schema": "https://schemas.example.com/banner.json",
}


def event_name(text: str) -> str | None:
    """The whole name for a whole or a short one (`snapshot.published`); None for no event."""
    name = text if text.startswith(_PREFIX) else _PREFIX + text
    return name if name in KNOWN_EVENT_NAMES else None


def suggestion(text: str) -> str:
    """The name that was probably meant, if one is near, and all the names."""
    short = sorted(name.removeprefix(_PREFIX) for name in KNOWN_EVENT_NAMES)
    near = difflib.get_close_matches(text.removeprefix(_PREFIX), short, n=1)
    meant = f"Did you mean {near[0]}? " if near else ""
    return f"{meant}Amplience sends: {', '.join(short)}."


def has_content_item(name: str) -> bool:
    """Tell whether the sample of the event `name` is about a content item."""
    return _IN_SAMPLES["item"] in _text(name)


def sample(
    name: str, choices: Mapping[str, str] | None = None, *, event_id: str | None = None
) -> bytes:
    """The raw body of a webhook of the event `name`, with a fresh request id.

    `name` is a whole name. `choices` of item, label, locale and schema replace those of the
    sample's content item. Without `event_id` the event is a new one each time; the same id again is
    a repeat, as long as the choices are the same.
    """
    text = _text(name)
    choices = choices or {}
    for choice, old in _IN_SAMPLES.items():
        new = json.dumps(choices.get(choice, old), ensure_ascii=False)
        text = text.replace(old, new[1:-1])
    message = json.loads(text)
    if "locale" in choices:
        message["payload"]["locale"] = choices["locale"]
    message["id"] = event_id or str(uuid.uuid4())
    message["requestId"] = str(uuid.uuid4())
    return json.dumps(message, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _text(name: str) -> str:
    return (files("app.cli") / "samples" / f"{name}.json").read_text(encoding="utf-8")
