"""`dc-relay localize`: the missing locale variants of items that are there already.

A rule localizes what is created from now on; this is for what was there before. It only lists: the
jobs are those of a rule, and check each item again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click

from app.amplience.facets import FacetField, FacetQuery
from app.amplience.management import ManagementClient
from app.amplience.management_http import path_id
from app.cli.bulk import BulkCommand, BulkOptions, bulk_options, run_bulk
from app.cli.choosing import chosen_hub, hub_id_of, management_of
from app.cli.starting import settings_or_exit
from app.config import Hub, LocalizeSpec, Rule, Settings
from app.errors import Refused
from app.events import ContentItem, WebhookEvent
from app.operations.listing import BulkItem, Part, bulk_item, fits, found_items, is_glob
from app.rules import Plan, match

_VERB = "localize"


@dataclass(frozen=True)
class _Wanted:
    """Which items. `source_locale` is that of all of them."""

    schemas: tuple[str, ...]
    repositories: tuple[str, ...]
    items: tuple[str, ...]
    source_locale: str
    with_missing_locale: bool


@click.command()
@click.option("--schema", "schemas", multiple=True, metavar="GLOB", help="Items of this schema.")
@click.option("--repository", "repositories", multiple=True, metavar="ID", help="Items in it.")
@click.option("--item", "items", multiple=True, metavar="ID", help="This item.")
@click.option("--locales", metavar="fr-FR,de-DE", help="Locales to create, or *.")
@click.option("--source-locale", help="Locale of the items that are localized.")
@click.option("--set-missing-locale", is_flag=True, help="Give items without a locale that one.")
@bulk_options(default_per_minute=300)
def localize(
    *,
    schemas: tuple[str, ...],
    repositories: tuple[str, ...],
    items: tuple[str, ...],
    locales: str | None,
    source_locale: str | None,
    set_missing_locale: bool,
    hub_key: str | None,
    per_minute: float,
    **options: Any,
) -> None:
    """Create the missing locale variants of items that exist already.

    Give --schema, --repository or --item, each as often as you like: items of any of the schemas
    and in any of the repositories, and those that are named. Only active items in the source locale
    are localized. Locales that are not given are those of the hub's localize rule, if there is
    exactly one. "*" stands for all that an item's repository allows.
    """
    settings = settings_or_exit()
    hub = chosen_hub(settings, hub_key)
    spec = _spec(settings, hub, locales, source_locale, set_missing_locale=set_missing_locale)
    wanted = _wanted(spec, schemas, repositories, items)
    with management_of(settings, hub) as client:
        command = BulkCommand(
            kind="localize",
            hub=hub.key,
            args={
                "hub": hub.key,
                "schemas": list(wanted.schemas),
                "repositories": list(wanted.repositories),
                "items": list(wanted.items),
                "locales": list(spec.locales),
                "source_locale": spec.source_locale,
                "set_missing_locale": spec.set_missing_locale,
            },
            parts=_parts(client, hub_id_of(hub), wanted),
            plans=_plans(spec),
            per_minute=per_minute,
        )
        run_bulk(settings, command, BulkOptions(**options))


def _spec(
    settings: Settings,
    hub: Hub,
    locales: str | None,
    source_locale: str | None,
    *,
    set_missing_locale: bool,
) -> LocalizeSpec:
    rules = [
        rule.action
        for rule in settings.rules
        if rule.hub in (None, hub.key) and isinstance(rule.action, LocalizeSpec)
    ]
    rule = rules[0] if len(rules) == 1 else None
    chosen = tuple(part.strip() for part in locales.split(",")) if locales else ()
    source = source_locale or (rule.source_locale if rule else None)
    chosen = chosen or (rule.locales if rule else ())
    if not chosen or not source:
        count = "no localize rule" if not rules else f"{len(rules)} localize rules"
        raise click.UsageError(
            f"The hub {hub.key} has {count} to take locales from: give --locales and"
            " --source-locale."
        )
    return LocalizeSpec(
        source_locale=source,
        locales=chosen,
        set_missing_locale=set_missing_locale,
        replicate_folder_structure=bool(rule and rule.replicate_folder_structure),
    )


def _wanted(
    spec: LocalizeSpec,
    schemas: Sequence[str],
    repositories: Sequence[str],
    items: Sequence[str],
) -> _Wanted:
    if not (schemas or repositories or items):
        raise click.UsageError("Which items? Give --schema, --repository or --item.")
    for identifier in (*repositories, *items):
        try:
            path_id(identifier)
        except Refused as problem:
            raise click.UsageError(f"{identifier!r}: {problem}") from problem
    return _Wanted(
        tuple(sorted(set(schemas))),
        tuple(sorted(set(repositories))),
        tuple(sorted(set(items))),
        spec.source_locale,
        spec.set_missing_locale,
    )


def _parts(
    client: ManagementClient, hub_id: str, wanted: _Wanted
) -> Callable[[Any, Callable[[], set[str]]], Iterator[Part]]:
    def parts(_position: Any, _listed: Callable[[], set[str]]) -> Iterator[Part]:
        if wanted.items:
            yield Part(tuple(BulkItem(identifier, _VERB) for identifier in wanted.items))
        for query in _queries(wanted):
            for page in found_items(client, hub_id, query):
                yield Part(
                    tuple(
                        bulk_item(item, _VERB)
                        for item in page
                        if _is_wanted(item, wanted) and item.id not in wanted.items
                    )
                )

    return parts


def _queries(wanted: _Wanted) -> Iterator[FacetQuery]:
    if not (wanted.schemas or wanted.repositories):
        return
    fields = [] if wanted.with_missing_locale else [FacetField("locale", (wanted.source_locale,))]
    if wanted.schemas and not any(map(is_glob, wanted.schemas)):
        fields.append(FacetField("schema", wanted.schemas))
    for repository in wanted.repositories or (None,):
        inside = (("contentRepositoryId", repository),) if repository else ()
        yield FacetQuery(having=(("status", "ACTIVE"), *inside), fields=tuple(fields))


def _is_wanted(item: ContentItem, wanted: _Wanted) -> bool:
    """Look again at what the search names, because an index may be old; the job looks once more."""
    is_active = item.status in (None, "ACTIVE")
    return is_active and fits(item.schema, wanted.schemas) and _is_in_source_locale(item, wanted)


def _is_in_source_locale(item: ContentItem, wanted: _Wanted) -> bool:
    # What the search was to look for, it need not name in what it finds.
    return item.locale in (None, wanted.source_locale)


def _plans(spec: LocalizeSpec) -> Callable[[WebhookEvent, BulkItem], list[Plan]]:
    def plans(event: WebhookEvent, _item: BulkItem) -> list[Plan]:
        return match(event, [Rule("localize (command)", (event.name,), spec)])

    return plans
