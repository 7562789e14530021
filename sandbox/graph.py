"""Reads the body of a content item: its links, delivery keys and localized values.

Pure; where the linked items come from is decided by the caller.
"""

from collections.abc import Callable, Iterator

from sandbox.errors import Json

DEFINITIONS = "http://bigcontent.io/cms/schema/v1/core#/definitions/"
CONTENT_LINK = DEFINITIONS + "content-link"
MAX_DEPTH = 22
"""Amplience's limit to how deep content may be nested."""

Resolve = Callable[[str], Json | None]
"""Give the body of a linked item, or None when there is none to give."""


def schema_of(value: object) -> str:
    """Tell the schema that a part of a body names, or nothing."""
    meta = value.get("_meta") if isinstance(value, dict) else None
    return str(meta.get("schema", "")) if isinstance(meta, dict) else ""


def is_link(value: object) -> bool:
    """Tell whether this is a content link. A content reference is not: it is never followed."""
    return isinstance(value, dict) and schema_of(value) == CONTENT_LINK and "id" in value


def content_links(value: object) -> Iterator[Json]:
    """Find every content link below a value, in the order of the document."""
    if isinstance(value, dict):
        if is_link(value):
            yield value
            return
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from content_links(part)


def delivery_keys(body: Json) -> list[str]:
    """List an item's delivery keys: the single one and the several."""
    meta = body.get("_meta", {})
    several = (meta.get("deliveryKeys") or {}).get("values", [])
    keys = [meta.get("deliveryKey"), *(entry.get("value") for entry in several)]
    return list(dict.fromkeys(key for key in keys if key))


def in_locale(value: object, wanted: list[str]) -> object:
    """Replace every localized value by the one for the first locale that matches, else null."""
    if isinstance(value, list):
        return [in_locale(part, wanted) for part in value]
    if not isinstance(value, dict):
        return value
    if "/definitions/localized-" in schema_of(value) and isinstance(value.get("values"), list):
        return in_locale(_choose(value["values"], wanted), wanted)
    return {key: in_locale(part, wanted) for key, part in value.items()}


def _choose(values: list[Json], wanted: list[str]) -> object:
    for pattern in wanted:
        for entry in values:
            if entry.get("value") is not None and _matches(str(entry.get("locale")), pattern):
                return entry["value"]
    return None


def _matches(locale: str, pattern: str) -> bool:
    if pattern == "*":
        return True
    if pattern.endswith("-*"):
        return locale.partition("-")[0] == pattern[:-2]
    return locale == pattern


def delivered(item_id: str, body: Json) -> Json:
    """Write a body as delivery does: with its delivery id."""
    return {**body, "_meta": {**body["_meta"], "deliveryId": item_id}}


def inlined(content: object, depth: int, resolve: Resolve, above: frozenset[str]) -> object:
    """Put linked items in the place of their links; deeper links stay stubs."""
    if isinstance(content, list):
        return [inlined(part, depth, resolve, above) for part in content]
    if not isinstance(content, dict):
        return content
    if not is_link(content):
        return {key: inlined(part, depth, resolve, above) for key, part in content.items()}
    child = None
    if depth > 0 and content["id"] not in above:
        child = resolve(content["id"])
    if child is None:
        return content
    return inlined(child, depth - 1, resolve, above | {content["id"]})


def linked(content: object, depth: int, resolve: Resolve, root: str) -> list[Json]:
    """Collect the linked items down to a depth, each once."""
    found: dict[str, Json] = {}
    level: list[object] = [content]
    for _ in range(depth):
        below: list[object] = []
        for link in (link for part in level for link in content_links(part)):
            if link["id"] != root and link["id"] not in found:
                child = resolve(link["id"])
                if child is not None:
                    found[link["id"]] = child
                    below.append(child)
        level = below
    return list(found.values())
