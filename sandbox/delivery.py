"""Content Delivery 2: reads published content by id or key, many at once, or by filter.

Knows depth, format and locale, and what each environment may see; not how it got published.
Rules: https://amplience.com/developers/docs/apis/content-delivery/content-delivery-2-overview/
"""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass

from sandbox import graph
from sandbox.errors import Json, RefusalError, delivery_error
from sandbox.models import timestamp
from sandbox.state import State

MAX_FETCH = 12
MAX_PATHS = 6
MAX_PAGE = 12


@dataclass(frozen=True)
class Parameters:
    """How content is to be written."""

    depth: int = 0
    format: str = "linked"
    locale: tuple[str, ...] = ()

    @classmethod
    def read(cls, given: Json) -> "Parameters":
        """Check parameters from a query or a body, or refuse with 400."""
        depth = str(given.get("depth", "root"))
        if depth in {"root", "all"}:
            levels = 0 if depth == "root" else graph.MAX_DEPTH
        elif depth.isdigit() and int(depth) <= graph.MAX_DEPTH:
            levels = int(depth)
        else:
            raise invalid_value("depth", depth)
        if given.get("format", "linked") not in {"linked", "inlined"}:
            raise invalid_value("format", given["format"])
        locale = given.get("locale")
        names = tuple(part.strip() for part in str(locale).split(",")) if locale else ()
        return cls(levels, str(given.get("format", "linked")), names)


def invalid_value(key: str, value: object) -> RefusalError:
    """Refuse a property of the request."""
    return delivery_error(
        400,
        "REQUEST_PROPERTY_VALUE_INVALID",
        "Invalid property value in request body",
        {"key": key, "value": value},
    )


def an_object(key: str, value: object) -> Json:
    """Take a part of the request that must be an object, or is not there; refuse others."""
    if value is not None and not isinstance(value, dict):
        raise invalid_value(key, value)
    return value or {}


@dataclass(frozen=True)
class Found:
    """One deliverable item: its resource, and where its links lead."""

    resource: Json
    resolve: graph.Resolve


class Origin:
    """What one environment delivers: published snapshots, or what was saved last (`staging`)."""

    def __init__(self, state: State, *, staging: bool) -> None:
        self._state = state
        self._staging = staging

    def by_id(self, item_id: str) -> Found | None:
        """Find an item by its delivery id, which is its content item id."""
        if self._staging:
            resource = self._saved(item_id)
            return Found(resource, self._saved_body) if resource else None
        snapshot = self._state.published.get(item_id)
        if snapshot is None:
            return None
        copies = snapshot.items

        # Links lead to the copies of this snapshot, so that an item that was unpublished since
        # stays inside its published parents, as Amplience documents.
        def resolve(other: str) -> Json | None:
            return graph.delivered(other, copies[other]["body"]) if other in copies else None

        return Found(copies[item_id], resolve)

    def by_key(self, key: str) -> Found | None:
        """Find an item by a delivery key; the one published last wins."""
        for found in reversed(self.all()):
            if key in graph.delivery_keys(found.resource["body"]):
                return found
        return None

    def all(self) -> list[Found]:
        """List every deliverable item, oldest first."""
        ids = list(self._state.items if self._staging else self._state.published)
        return [found for item_id in ids if (found := self.by_id(item_id)) is not None]

    def _saved(self, item_id: str) -> Json | None:
        item = self._state.items.get(item_id)
        if item is None:
            return None
        return {"id": item.id, "body": item.body, "createdDate": timestamp(item.created)}

    def _saved_body(self, item_id: str) -> Json | None:
        resource = self._saved(item_id)
        return graph.delivered(item_id, resource["body"]) if resource else None


def write(found: Found, parameters: Parameters) -> Json:
    """Write one item as delivery answers it. `linkedContent` is there only if links were opened."""
    item_id = found.resource["id"]

    def shown(body: Json) -> Json:
        local = graph.in_locale(body, list(parameters.locale)) if parameters.locale else body
        assert isinstance(local, dict)  # noqa: S101 (an item's body is never a localized value)
        return local

    def resolve(other: str) -> Json | None:
        body = found.resolve(other)
        return None if body is None else shown(body)

    content = shown(graph.delivered(item_id, found.resource["body"]))
    if parameters.format == "inlined":
        return {"content": graph.inlined(content, parameters.depth, resolve, frozenset({item_id}))}
    opened = graph.linked(content, parameters.depth, resolve, item_id)
    return {"content": content, "linkedContent": opened} if opened else {"content": content}


def one(origin: Origin, kind: str, value: str, parameters: Parameters) -> Json:
    """Answer for one id or key, or refuse with 404."""
    found = origin.by_id(value) if kind == "id" else origin.by_key(value)
    if found is None:
        name = "deliveryId" if kind == "id" else "deliveryKey"
        raise delivery_error(404, "CONTENT_NOT_FOUND", "Not found", {name: value})
    return write(found, parameters)


def fetch(asked: Json, read: Callable[[str, str, Parameters], Json]) -> Json:
    """Answer up to twelve ids and keys in order; what is missing is an error in its place."""
    requests = asked.get("requests")
    if not isinstance(requests, list) or not requests:
        raise delivery_error(400, "NO_REQUESTS_PROVIDED", "Must supply at least one request")
    if len(requests) > MAX_FETCH:
        raise invalid_value("requests", len(requests))
    common = an_object("parameters", asked.get("parameters"))
    responses: list[Json] = []
    for entry in requests:
        kind = "id" if "id" in an_object("requests", entry) else "key"
        if not isinstance(entry.get(kind), str):
            raise invalid_value("requests", entry)
        overrides = an_object("overrides", entry.get("overrides"))
        parameters = Parameters.read({**common, **overrides})
        try:
            responses.append(read(kind, entry[kind], parameters))
        except RefusalError as refusal:
            responses.append(refusal.body)
    return {"responses": responses}


def pointer(path: str, document: object) -> object:
    """Follow a JSON pointer, giving None where it leads nowhere."""
    for part in path.strip("/").split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            document = document.get(name)
        elif isinstance(document, list) and name.isdigit() and int(name) < len(document):
            document = document[int(name)]
        else:
            return None
    return document


def filtered(origin: Origin, asked: Json) -> Json:
    """Answer the items that match every path, sorted and in pages."""
    rules = asked.get("filterBy")
    if not isinstance(rules, list) or not rules or len(rules) > MAX_PATHS:
        raise invalid_value("filterBy", rules)
    for rule in rules:
        path = str(an_object("filterBy", rule).get("path", ""))
        if not path.startswith("/") or "value" not in rule:
            raise invalid_value("filterBy", rule)
    page = an_object("page", asked.get("page"))
    size, start = page.get("size", MAX_PAGE), _start(page.get("cursor"))
    if not isinstance(size, int) or not 1 <= size <= MAX_PAGE:
        raise invalid_value("page.size", size)
    parameters = Parameters.read(an_object("parameters", asked.get("parameters")))
    matching = _sorted(
        [
            found
            for found in origin.all()
            if all(pointer(rule["path"], found.resource["body"]) == rule["value"] for rule in rules)
        ],
        an_object("sortBy", asked.get("sortBy")),
    )
    responses = [write(found, parameters) for found in matching[start : start + size]]
    answer: Json = {"responses": responses, "page": {"responseCount": len(responses)}}
    if start + size < len(matching):
        answer["page"]["nextCursor"] = _cursor(start + size)
    return answer


def _sorted(matching: list[Found], sort: Json) -> list[Found]:
    """Sort by a property named by `key` (a name, or a JSON pointer); by created date without one.

    A hub maps sort keys to properties in its content types; the sandbox has no content types.
    """
    key = str(sort.get("key", "default"))
    path = key if key.startswith("/") else f"/{key}"

    def rank(found: Found) -> tuple[bool, bool, float, str]:
        if key == "default":
            return (False, False, 0, found.resource["createdDate"])
        value = pointer(path, found.resource["body"])
        number = isinstance(value, (int, float))
        return (value is None, not number, float(value) if number else 0, str(value))  # type: ignore[arg-type]

    return sorted(matching, key=rank, reverse=str(sort.get("order", "ASC")).upper() == "DESC")


def _cursor(start: int) -> str:
    return base64.urlsafe_b64encode(json.dumps({"start": start}).encode()).decode()


def _start(cursor: object) -> int:
    if cursor is None:
        return 0
    try:
        return int(json.loads(base64.urlsafe_b64decode(str(cursor)))["start"])
    except (ValueError, KeyError, TypeError) as error:
        raise invalid_value("page.cursor", cursor) from error
