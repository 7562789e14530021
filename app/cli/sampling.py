"""Sample webhooks of every event that Amplience sends, in the shapes that it documents.

Each is a file in `samples/`; every id in them is made up
(https://amplience.com/developers/docs/integrations/webhooks/payloads/).
"""

from __future__ import annotations

import difflib
import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

from app.events import KNOWN_EVENT_NAMES

_PREFIX = "dynamic-content."
_BODY_META = ("payload", "body", "_meta")
_ROOT = ("payload", "rootContentItem")

_Places = dict[str, Sequence[tuple[str, ...]]]
# Where each kind of event has what can be chosen; an edition's has none of it.
_PLACES: dict[str, _Places] = {
    "content-item": {
        "item": [("payload", "id")],
        "label": [("payload", "label"), (*_BODY_META, "name")],
        "locale": [("payload", "locale")],
        "schema": [(*_BODY_META, "schema")],
    },
    "snapshot": {
        "item": [(*_ROOT, "id")],
        "label": [(*_ROOT, "label")],
        "locale": [("payload", "locale")],
        "schema": [(*_ROOT, "contentTypeUri")],
    },
    "edition": {},
}


@dataclass(frozen=True)
class Choices:
    """What is to differ from the sample; None leaves it as it is."""

    item: str | None = None
    label: str | None = None
    locale: str | None = None
    schema: str | None = None

    @property
    def made(self) -> dict[str, str]:
        """What was chosen, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def event_name(written: str) -> str | None:
    """The whole name for a whole or a short one (`snapshot.published`); None for no event."""
    name = written if written.startswith(_PREFIX) else _PREFIX + written
    return name if name in KNOWN_EVENT_NAMES else None


def suggestion(written: str) -> str:
    """The name that was probably meant, if one is near, and all the names."""
    short = sorted(name.removeprefix(_PREFIX) for name in KNOWN_EVENT_NAMES)
    near = difflib.get_close_matches(written.removeprefix(_PREFIX), short, n=1)
    meant = f"Did you mean {near[0]}? " if near else ""
    return f"{meant}Amplience sends: {', '.join(short)}."


def unfit_choices(name: str, choices: Choices) -> list[str]:
    """Which choices the event `name` has no place for."""
    return [choice for choice in choices.made if choice not in _places(name)]


def sample(name: str, choices: Choices, *, event_id: str | None = None) -> bytes:
    """The raw body of a webhook of the event `name`, with a fresh request id.

    `name` is a whole name, and `choices` holds none that is unfit. Without `event_id` the event is
    a new one each time; the same id again is a repeat, as long as the choices are the same.
    """
    text = (files("app.cli") / "samples" / f"{name}.json").read_text(encoding="utf-8")
    message = json.loads(text)
    message["id"] = event_id or str(uuid.uuid4())
    message["requestId"] = str(uuid.uuid4())
    places = _places(name)
    if choices.item is not None:
        # The id of an item stands in its links as well.
        message = _replaced(message, _at(message, places["item"][0]), choices.item)
    for choice, value in choices.made.items():
        for *way, last in places[choice]:
            _at(message, way)[last] = value
    return json.dumps(message, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _places(name: str) -> _Places:
    return _PLACES[name.removeprefix(_PREFIX).partition(".")[0]]


def _at(message: Any, way: Sequence[str]) -> Any:
    for step in way:
        message = message[step]
    return message


def _replaced(value: Any, old: str, new: str) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(below, old, new) for key, below in value.items()}
    if isinstance(value, list):
        return [_replaced(below, old, new) for below in value]
    return value.replace(old, new) if isinstance(value, str) else value
