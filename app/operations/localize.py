"""Create the missing locale variants of items that exist already.

A rule localizes what is created from now on; this is for what was there before. The jobs are those
of a rule, and check each item again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from app.amplience.facets import FacetField, FacetQuery
from app.amplience.management import ManagementClient
from app.amplience.management_http import path_id
from app.config import Hub, LocalizeSpec, Rule, Settings
from app.errors import Refused
from app.events import ContentItem, WebhookEvent
from app.operations import RequestInvalid
from app.operations.bulk import (
    BulkItem,
    BulkOperation,
    Part,
    bulk_item,
    fits,
    found_items,
    is_glob,
    rules_of,
)
from app.rules import Plan, match


@dataclass(frozen=True)
class LocalizeExisting(BulkOperation):
    """Localize items of any of the schemas in any of the repositories, and those named by id."""

    kind = "localize"
    client: ManagementClient
    hub_id: str
    spec: LocalizeSpec
    schemas: tuple[str, ...]
    repositories: tuple[str, ...]
    items: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raise `RequestInvalid` where nothing is chosen, or by what cannot be an id."""
        if not (self.schemas or self.repositories or self.items):
            raise RequestInvalid("Which items? Give --schema, --repository or --item.")
        for identifier in (*self.repositories, *self.items):
            try:
                path_id(identifier)
            except Refused as problem:
                raise RequestInvalid(f"{identifier!r}: {problem}") from problem

    @property
    def args(self) -> dict[str, Any]:
        """What makes two runs the same."""
        return {
            "hub": self.hub.key,
            "schemas": sorted(set(self.schemas)),
            "repositories": sorted(set(self.repositories)),
            "items": sorted(set(self.items)),
            "locales": list(self.spec.locales),
            "source_locale": self.spec.source_locale,
            "set_missing_locale": self.spec.set_missing_locale,
        }

    def parts(self, _position: Any, _listed: Callable[[], set[str]]) -> Iterator[Part]:
        """List the named items, then what the searches find."""
        if self.items:
            yield Part(tuple(BulkItem(each, self.kind) for each in sorted(set(self.items))))
        for query in self._queries():
            for page in found_items(self.client, self.hub_id, query):
                yield Part(tuple(bulk_item(item, self.kind) for item in page if self._wants(item)))

    def plans(self, event: WebhookEvent, _item: BulkItem) -> list[Plan]:
        """Plan as a localize rule would."""
        return match(event, [Rule("localize (command)", (event.name,), self.spec)])

    def _queries(self) -> Iterator[FacetQuery]:
        if not (self.schemas or self.repositories):
            return
        fields = []
        if not self.spec.set_missing_locale:
            fields.append(FacetField("locale", (self.spec.source_locale,)))
        if self.schemas and not any(map(is_glob, self.schemas)):
            fields.append(FacetField("schema", self.schemas))
        for repository in self.repositories or (None,):
            inside = (("contentRepositoryId", repository),) if repository else ()
            yield FacetQuery(having=(("status", "ACTIVE"), *inside), fields=tuple(fields))

    def _wants(self, item: ContentItem) -> bool:
        """Check what the search found, as its index may be old; the job checks once more.

        A property that the search asked for may be missing in what it finds.
        """
        return (
            item.id not in self.items
            and item.status in (None, "ACTIVE")
            and fits(item.schema, self.schemas)
            and item.locale in (None, self.spec.source_locale)
        )


def localize_spec(
    settings: Settings,
    hub: Hub,
    *,
    locales: tuple[str, ...],
    source_locale: str | None,
    set_missing_locale: bool,
) -> LocalizeSpec:
    """Complete what was asked for from the hub's localize rule, if it has exactly one.

    Raises `RequestInvalid` where the locales or the source locale are still missing.
    """
    specs = [r.action for r in rules_of(settings, hub) if isinstance(r.action, LocalizeSpec)]
    rule = specs[0] if len(specs) == 1 else None
    source_locale = source_locale or (rule.source_locale if rule else None)
    locales = locales or (rule.locales if rule else ())
    if not locales or not source_locale:
        count = "no localize rule" if not specs else f"{len(specs)} localize rules"
        raise RequestInvalid(
            f"The hub {hub.key} has {count} to take locales from: give --locales and"
            " --source-locale."
        )
    return LocalizeSpec(
        source_locale=source_locale,
        locales=locales,
        set_missing_locale=set_missing_locale,
        replicate_folder_structure=bool(rule and rule.replicate_folder_structure),
    )
