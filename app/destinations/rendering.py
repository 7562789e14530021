"""What one request to a destination looks like: its templates filled with a message. Pure.

The kept message is always our envelope, so the same message and settings make the same request at
every attempt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

from app.config import DeleteRequest, Destination
from app.config.fields import UNPRINTABLE
from app.config.templating import (
    VARIABLES,
    Kind,
    Sample,
    TemplateFault,
    Unrenderable,
    is_template,
    render,
)
from app.destinations.message import Message
from app.errors import TemplateFailed
from app.events import CONTENT_ITEM_UPDATED, SNAPSHOT_PUBLISHED

DELETED = "content.deleted"


@dataclass(frozen=True)
class Request:
    """One HTTP request, without what differs between attempts.

    `content_type` of None goes with a body that is empty. `absent_is_done`: an answer that there is
    no such thing is what was wanted.
    """

    method: str
    url: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)
    content_type: str | None
    absent_is_done: bool = False


def request_of(destination: Destination, message: Message) -> Request:
    """The request that carries `message`, which holds an envelope where there are templates.

    Raises `TemplateFailed`, whose text quotes neither settings nor content.
    """
    if not _has_templates(destination):
        return Request(
            method=destination.method,
            url=destination.url,
            headers=destination.headers,
            body=message.body,
            content_type=message.content_type if message.body else None,
        )
    try:
        envelope = json.loads(message.body)
        values = {**envelope["data"], **envelope}
    except (ValueError, TypeError, LookupError):
        problem = Unrenderable("what is kept of the message is no envelope")
        raise _failed(destination, problem) from None
    return _filled(destination, message, values)


def _filled(destination: Destination, message: Message, known: Mapping[str, Any]) -> Request:
    values = {name: value for name, value in known.items() if name in VARIABLES}
    fill = _Filling(destination, values)
    headers = tuple(
        (name, fill.header(name, value) if is_template(value) else value)
        for name, value in destination.headers
    )
    deleted = values.get("type") == DELETED
    if deleted and destination.delete:
        return _delete_request(destination, destination.delete, fill, headers)
    body, content_type = message.body, message.content_type
    if destination.body is not None and not deleted:
        body, content_type = fill.body("body", destination.body), destination.content_type
    return Request(
        method=destination.method,
        url=fill.url("url", destination.url),
        headers=headers,
        body=body,
        content_type=content_type if body else None,
    )


def try_templates(destination: Destination) -> list[str]:
    """What is wrong with the destination's templates, tried on samples; none where all is well.

    A sample knows every fact of an item and takes any field of its content for a text, so that
    what depends on the content is found out only when it is sent.
    """
    message = Message(b"{}", "application/json", "msg_sample")
    problems = []
    for known in _SAMPLES if _has_templates(destination) else ():
        try:
            _filled(destination, message, known)
        except TemplateFailed as problem:
            problems.append(f"{known['type']}: {problem}")
    return problems


def _has_templates(destination: Destination) -> bool:
    written = (destination.url, *(value for _, value in destination.headers))
    own = destination.body is not None or destination.delete is not None
    return own or any(is_template(text) for text in written)


def _delete_request(
    destination: Destination,
    delete: DeleteRequest,
    fill: _Filling,
    headers: tuple[tuple[str, str], ...],
) -> Request:
    body = fill.body("delete.body", delete.body) if delete.body is not None else b""
    url = (
        fill.url("url", destination.url)
        if delete.url is None
        else fill.url("delete.url", delete.url)
    )
    return Request(
        method=delete.method,
        url=url,
        headers=headers,
        body=body,
        content_type=destination.content_type if body else None,
        absent_is_done=delete.method == "DELETE",
    )


@dataclass(frozen=True)
class _Filling:
    """Fills the templates of one destination with one message's values."""

    destination: Destination
    values: Mapping[str, Any]

    def url(self, setting: str, template: str) -> str:
        if not is_template(template):
            return template
        url = self._fill(setting, template, "url")
        # Whoever sends it would leave them out, and the path would be another one.
        if any(unquote(step) in (".", "..") for step in urlsplit(url).path.split("/")):
            text = "a part of the path would be a dot or two"
            raise _failed(self.destination, Unrenderable(text), setting)
        return url

    def header(self, name: str, template: str) -> str:
        text = self._fill(f"headers.{name}", template, "header")
        try:
            text.encode("latin-1")
        except UnicodeEncodeError:
            sendable = False
        else:
            sendable = text == text.strip() and not UNPRINTABLE.search(text)
        if not sendable:
            problem = Unrenderable("it cannot be sent in a header; write {{ … | urlencode }}")
            raise _failed(self.destination, problem, f"headers.{name}")
        return text

    def body(self, setting: str, template: str) -> bytes:
        if not template.strip():
            return b""
        if not _is_json(self.destination.content_type):
            # Half a surrogate pair is no character, and nothing but JSON has a form for it.
            return self._fill(setting, template, "text").encode("utf-8", "replace")
        text = self._fill(setting, template, "json")
        try:
            json.loads(text, parse_constant=_refuse)
        except json.JSONDecodeError as problem:
            where = f"line {problem.lineno}, column {problem.colno}: {problem.msg}"
            found = Unrenderable(f"what it makes is not JSON ({where})")
            raise _failed(self.destination, found, setting) from None
        except (ValueError, RecursionError):
            found = Unrenderable("what it makes is not JSON")
            raise _failed(self.destination, found, setting) from None
        return text.encode("utf-8", "backslashreplace")

    def _fill(self, setting: str, template: str, kind: Kind) -> str:
        try:
            return render(template, kind, self.values)
        except (Unrenderable, TemplateFault) as problem:
            raise _failed(self.destination, problem, setting) from None


def _failed(
    destination: Destination, problem: Unrenderable | TemplateFault, setting: str = ""
) -> TemplateFailed:
    place = f"destinations.{destination.name}" + (f".{setting}" if setting else "")
    return TemplateFailed(
        f"the template {place} cannot be filled: {str(problem).partition(chr(10))[0]}",
        destination=destination.name,
        reason=getattr(problem, "reason", Unrenderable.reason),
    )


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _refuse(_: str) -> NoReturn:
    raise ValueError


_ITEM = {
    "id": "0f1e2d3c-4b5a-4978-8a6b-5c4d3e2f1a0b",
    "deliveryKey": "sample/key",
    "schema": "https://schema-examples.com/sample",
    "label": "Sample",
    "locale": "en-GB",
}
_EVENT = {
    "id": "5d1f7d0e-6a1b-4a52-9a0c-0d9f6f3f1c11",
    "name": SNAPSHOT_PUBLISHED,
    "requestId": "9b5a0f8e-35a5-4c86-93a1-8f7c1f6b2a22",
}
_SAMPLES: tuple[Mapping[str, Any], ...] = tuple(
    {**facts, "type": kind, "timestamp": "2025-03-03T11:00:01.000Z", "data": facts}
    for kind, facts in (
        (
            "content.published",
            {
                "hub": "main",
                "event": _EVENT,
                "snapshot": {
                    "id": "66a10b0000000000000000aa",
                    "createdDate": "2025-03-03T11:00:00.000Z",
                },
                "item": _ITEM,
                "content": Sample("sample"),
                "linkedContent": Sample("sample"),
                "source": "fresh",
                "verified": True,
            },
        ),
        (
            DELETED,
            {
                "hub": "main",
                "event": {**_EVENT, "name": CONTENT_ITEM_UPDATED},
                "snapshot": None,
                "item": _ITEM,
            },
        ),
    )
)
