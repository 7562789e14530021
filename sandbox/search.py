"""Facet search over content items, as far as queries on a few fields go.

Rules: https://amplience.com/developers/docs/apis/content-management-reference/ (facet). The real
search is an index that may lag behind; this one never does.
"""

import re
from collections import Counter
from collections.abc import Callable

from sandbox import hal
from sandbox.errors import Json, management_error
from sandbox.models import Item
from sandbox.state import State

FIELDS: dict[str, Callable[[Item], str | None]] = {
    "status": lambda item: item.status,
    "publishingStatus": lambda item: item.publishing_status,
    "schema": lambda item: item.schema,
    "locale": lambda item: item.locale,
    "contentRepositoryId": lambda item: item.repository_id,
    "folderId": lambda item: item.folder_id,
    "label": lambda item: item.label,
}
TERM = re.compile(r'(\w+):"([^"]*)"')


def field(name: str) -> Callable[[Item], str | None]:
    """Find a searchable field, or refuse with 400."""
    if name not in FIELDS:
        raise management_error(400, "BAD_REQUEST", f"The sandbox cannot search by {name}.")
    return FIELDS[name]


def facet(state: State, asked: Json, query: str) -> Json:
    """Answer a page of items without their bodies, and the counts of each field asked for."""
    rows = list(state.items.values())
    for name, value in TERM.findall(query):
        read = field(name)
        rows = [item for item in rows if read(item) == value]
    counted: Json = {}
    for facet_field in asked.get("fields", []):
        name = facet_field.get("field", "")
        if facet_field.get("facetAs") == "DATE":
            continue
        read = field(name)
        counts = Counter(value for item in rows if (value := read(item)) is not None)
        counted[facet_field.get("name", name)] = [
            {"_id": value, "count": count} for value, count in counts.items()
        ]
        rows = _filtered(rows, read, facet_field.get("filter"))
    shown = hal.sorted_items(rows) if asked.get("returnEntities") else []
    answer = hal.page_of("content-items", shown, lambda item: hal.facet_item(state, item))
    return {**answer, "_facets": counted}


def _filtered(
    rows: list[Item], read: Callable[[Item], str | None], rule: Json | None
) -> list[Item]:
    if not rule:
        return rows
    values, kind = rule.get("values", []), rule.get("type")
    if kind not in {"IN", "EQ", "EXCLUDES"}:
        raise management_error(400, "BAD_REQUEST", f"The sandbox has no filter type {kind}.")
    return [item for item in rows if (read(item) in values) == (kind != "EXCLUDES")]
