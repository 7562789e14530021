"""Searching a hub's content items by facets, with the Management API.

It searches an index: what was changed a moment ago may be found as it was, or not at all, and a
result has no body. Read an item again before acting on it.

Source of all shapes: https://github.com/amplience/dc-management-sdk-js (`Facets.ts`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from app.amplience import answers
from app.amplience.http import Call
from app.amplience.management_http import MOST_PAGES, PAGE_SIZE, ManagementHttp, path_id
from app.errors import Refused
from app.events import ContentItem


@dataclass(frozen=True)
class FacetField:
    """A field to count the values of, and, with `values`, to filter by.

    `name` is a field such as `publishingStatus`, `schema`, `locale`, `workflow.state`. `test` says
    whether a found item has one of `values` (IN), has the only one (EQ), or has none (EXCLUDES).
    """

    name: str
    values: tuple[str, ...] = ()
    test: Literal["IN", "EQ", "EXCLUDES"] = "IN"

    @property
    def as_json(self) -> dict[str, Any]:
        """The form that goes over the wire."""
        shown: dict[str, Any] = {"facetAs": "ENUM", "field": self.name}
        if self.values:
            shown["filter"] = {"type": self.test, "values": list(self.values)}
        return shown


@dataclass(frozen=True)
class FacetQuery:
    """What to search for: items that have every value of `having` and pass every field's filter.

    `having` holds pairs such as `("status", "ACTIVE")` or `("contentRepositoryId", "…")`, and
    becomes the `query`, `status:"ACTIVE"`. `sort` is a field and a direction, such as
    `lastModifiedDate,desc`. Refused where a value holds a quotation mark: how one is to be written
    is not documented.
    """

    having: tuple[tuple[str, str], ...] = ()
    fields: tuple[FacetField, ...] = ()
    sort: str | None = None
    return_entities: bool = True

    def __post_init__(self) -> None:
        if any('"' in name + value for name, value in self.having):
            raise Refused("a search cannot hold a quotation mark")

    @property
    def text(self) -> str:
        """The `query` parameter."""
        return "".join(f'{name}:"{value}"' for name, value in self.having)

    @property
    def as_json(self) -> dict[str, Any]:
        """The body that goes over the wire."""
        return {
            "returnEntities": self.return_entities,
            "fields": [one.as_json for one in self.fields],
        }


@dataclass(frozen=True)
class FacetPage:
    """One page of what was found.

    `items` have no body, and a `version` of 0 where the search names none. `counts` says of each
    field how many items have each value. `pages` and `total` are None where they are not told.
    """

    items: tuple[ContentItem, ...]
    number: int
    pages: int | None = None
    total: int | None = None
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


class FacetVerbs(ManagementHttp):
    """The search."""

    def facet(
        self, hub_id: str, query: FacetQuery, *, page: int = 0, size: int = PAGE_SIZE
    ) -> FacetPage:
        """One page, counted from 0: `POST /hubs/{id}/content-items/facet`.

        NotFound where there is no such hub.
        """
        asked: dict[str, str | int] = {"page": page, "size": size}
        asked |= {"query": query.text} if query.having else {}
        asked |= {"sort": query.sort} if query.sort else {}
        path = f"/hubs/{path_id(hub_id)}/content-items/facet"
        found = self._ask(Call("POST", path, query=asked, json=query.as_json, only_reads=True))
        total = answers.value_at(found, "page", "totalElements")
        entries = answers.embedded(found, "content-items")
        return FacetPage(
            items=tuple(answers.found_item(entry) for entry in entries),
            number=page,
            pages=answers.total_pages(found),
            total=total if isinstance(total, int) else None,
            counts=_counts(answers.value_at(found, "_facets")),
        )

    def facet_all(self, hub_id: str, query: FacetQuery, *, page: int = 0) -> Iterator[ContentItem]:
        """What is found, from `page` on, each page asked for when it is reached.

        Items that stop matching while pages are turned move others to pages that were read
        already: whoever changes what is found reads the first page again, or all pages first.
        """
        for number in range(page, MOST_PAGES):
            found = self.facet(hub_id, query, page=number)
            yield from found.items
            last = (
                len(found.items) < PAGE_SIZE if found.pages is None else number + 1 >= found.pages
            )
            if last:
                return


def _counts(facets: Any) -> dict[str, dict[str, int]]:
    if not isinstance(facets, dict):
        return {}
    return {
        str(name): {
            str(entry["_id"]): entry["count"]
            for entry in entries
            if isinstance(entry, dict) and "_id" in entry and isinstance(entry.get("count"), int)
        }
        for name, entries in facets.items()
        if isinstance(entries, list)
    }
