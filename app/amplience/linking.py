"""Puts linked content into the place of its links: format `linked` becomes what `inlined` is. Pure.

https://amplience.com/developers/docs/apis/content-delivery/content-delivery-2-overview/ describes
both formats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.amplience.answers import value_at

CONTENT_LINK = "http://bigcontent.io/cms/schema/v1/core#/definitions/content-link"
# Content cannot be nested deeper (https://amplience.com/developers/docs/apis/limits).
DEEPEST = 22


def link_tree(
    content: Mapping[str, Any], linked_content: Sequence[Any] | None, *, depth: int = DEEPEST
) -> dict[str, Any]:
    """The content with the items that it links to in the place of the links, `depth` levels down.

    What stays a link, as it does with `inlined`: one whose item is not among `linked_content`
    (never published, or deeper than was asked for), one that leads back to an item that it is
    within, and content references, which are never followed. Give the `depth` that was asked for:
    an item that is linked at two levels is given once, and would else be put in at both. What was
    handed in is not changed; the parts of the result may be shared with it.
    """
    items = {
        identifier: item
        for item in linked_content or ()
        if isinstance(identifier := value_at(item, "_meta", "deliveryId"), str)
    }
    own = value_at(content, "_meta", "deliveryId")
    within = frozenset({own}) if isinstance(own, str) else frozenset()
    return {name: _filled(part, items, depth, within) for name, part in content.items()}


def _filled(part: Any, items: Mapping[str, Any], depth: int, within: frozenset[str]) -> Any:
    if isinstance(part, list):
        return [_filled(entry, items, depth, within) for entry in part]
    if not isinstance(part, dict):
        return part
    if value_at(part, "_meta", "schema") != CONTENT_LINK:
        return {name: _filled(entry, items, depth, within) for name, entry in part.items()}
    target = part.get("id")
    if depth < 1 or not isinstance(target, str) or target in within or target not in items:
        return part
    return _filled(items[target], items, depth - 1, within | {target})
