"""Lists the content items that a long command is about, and shows them without doing anything.

A listing of thousands of items should not end at one bad answer, so each page is asked for again a
few times. This module must not know what is done with the items.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import count
from typing import Any, TypeVar

import click

from app.amplience.facets import FacetQuery
from app.amplience.management import ManagementClient
from app.amplience.management_http import PAGE_SIZE
from app.errors import AmplienceError
from app.events import ContentItem

_PAUSES = (0.5, 2.0, 10.0, 30.0)
_GLOB = frozenset("*?[")
_SHOWN = ("id", "verb", "label", "schema", "locale")

T = TypeVar("T")


@dataclass(frozen=True)
class BulkItem:
    """One content item that something is to be done with, and what: `verb` in a word.

    `extra` is what only the command's own plans need to know.
    """

    id: str
    verb: str
    label: str | None = None
    schema: str | None = None
    locale: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """A part of the listing, and where it goes on after it; None: from the start again."""

    items: tuple[BulkItem, ...]
    position: Any = None


Parts = Callable[[Any, Callable[[], set[str]]], Iterator[Part]]


def patiently(call: Callable[[], T]) -> T:
    """What `call` returns, after some more tries where Amplience is away or limits the rate."""
    for pause in _PAUSES:
        try:
            return call()
        except AmplienceError as problem:
            if not problem.transient:
                raise
            time.sleep(max(pause, min(problem.retry_after or 0, _PAUSES[-1])))
    return call()


def found_items(
    client: ManagementClient, hub_id: str, query: FacetQuery
) -> Iterator[list[ContentItem]]:
    """Everything that a search finds, page by page, an item that comes twice only once.

    It asks for every page, so nothing that is found may change before the last one was read.
    """
    seen: set[str] = set()
    for number in count():
        page = patiently(lambda at=number: client.facet(hub_id, query, page=at))  # type: ignore[misc]
        new = [item for item in page.items if item.id not in seen]
        yield new
        seen |= {item.id for item in new}
        if page.pages is not None:
            is_last = number + 1 >= page.pages
        else:
            # A service that does not count pages may not turn them either.
            is_last = len(page.items) < PAGE_SIZE or not new
        if is_last or not page.items:
            return


def is_glob(text: str) -> bool:
    """Tell whether it stands for many values."""
    return bool(_GLOB & set(text))


def fits(value: str | None, globs: tuple[str, ...]) -> bool:
    """Tell whether the value is one of those; without any, each one fits."""
    return not globs or (value is not None and any(fnmatchcase(value, glob) for glob in globs))


def bulk_item(item: ContentItem, verb: str) -> BulkItem:
    """The item of a listing."""
    return BulkItem(item.id, verb, label=item.label, schema=item.schema, locale=item.locale)


def tell_dry_run(kind: str, parts: Parts, *, as_json: bool) -> None:
    """List what would be done."""
    listed: set[str] = set()
    items: list[BulkItem] = []
    for part in parts(None, listed.copy):
        items += [item for item in part.items if item.id not in listed]
        listed.update(item.id for item in part.items)
    if as_json:
        shown = [{name: getattr(item, name) for name in _SHOWN} for item in items]
        found = {"kind": kind, "dry_run": True, "items": shown, "count": len(items)}
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for item in items:
        facts = "  ".join(fact for fact in (item.locale, item.schema, item.label) if fact)
        click.echo(f"{item.verb} {item.id}  {facts}".rstrip())
    click.echo(f"{len(items)} items; nothing was changed.")
