"""`dc-relay unpublish-archived`: take off delivery what was archived and stayed published.

Archiving does not unpublish. It only lists: the jobs are those of an unpublish rule, and keep the
quota. https://amplience.com/developers/docs/apis/content-management/content-management-overview
(Unpublishing all archived content items).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import click

from app.amplience.facets import FacetField, FacetQuery
from app.amplience.management import ManagementClient
from app.amplience.publishing import PUBLISHED
from app.cli.bulk import BulkCommand, BulkOptions, bulk_options, run_bulk
from app.cli.choosing import chosen_destination, chosen_hub, hub_id_of, management_of
from app.cli.starting import settings_or_exit
from app.config import Hub, Rule, Settings, UnpublishSpec
from app.events import WebhookEvent
from app.ledger.quotas import BULK_LEAVES
from app.operations.listing import BulkItem, Part, bulk_item, found_items
from app.rules import Plan, match

# Unpublishing an item that is not published is an error, so only those are asked for.
ARCHIVED_AND_PUBLISHED = FacetQuery(
    having=(("status", "ARCHIVED"),),
    fields=(FacetField("publishingStatus", tuple(sorted(PUBLISHED))),),
)


@click.command("unpublish-archived")
@click.option("--to", multiple=True, metavar="DESTINATION", help="Tell it what is gone.")
@bulk_options(default_per_minute=None)
def unpublish_archived(
    *, to: tuple[str, ...], hub_key: str | None, per_minute: float | None, **options: Any
) -> None:
    """Unpublish every archived item of a hub that is still published.

    Publishing and unpublishing are limited for the whole company, so this goes at four fifths of
    PUBLISH_QUOTA_PER_MINUTE at most. The destinations that are told are those of the hub's
    unpublish rule, if there is exactly one and --to is not given.
    """
    settings = settings_or_exit()
    hub = chosen_hub(settings, hub_key)
    for name in to:
        chosen_destination(settings, name)
    spec = UnpublishSpec(to=tuple(dict.fromkeys(to)) or _to(settings, hub))
    with management_of(settings, hub) as client:
        command = BulkCommand(
            kind="unpublish-archived",
            hub=hub.key,
            args={"hub": hub.key, "to": list(spec.to)},
            parts=_parts(client, hub_id_of(hub)),
            plans=_plans(spec),
            per_minute=per_minute or settings.publish_quota_per_minute * (1 - BULK_LEAVES),
        )
        run_bulk(settings, command, BulkOptions(**options))


def _to(settings: Settings, hub: Hub) -> tuple[str, ...]:
    rules = [
        rule.action
        for rule in settings.rules
        if rule.hub in (None, hub.key) and isinstance(rule.action, UnpublishSpec)
    ]
    return rules[0].to if len(rules) == 1 else ()


def _parts(
    client: ManagementClient, hub_id: str
) -> Callable[[Any, Callable[[], set[str]]], Iterator[Part]]:
    def parts(_position: Any, _listed: Callable[[], set[str]]) -> Iterator[Part]:
        # All pages first: what is unpublished meanwhile would move others to pages that were read.
        pages = list(found_items(client, hub_id, ARCHIVED_AND_PUBLISHED))
        yield Part(tuple(bulk_item(item, "unpublish") for page in pages for item in page))

    return parts


def _plans(spec: UnpublishSpec) -> Callable[[WebhookEvent, BulkItem], list[Plan]]:
    def plans(event: WebhookEvent, _item: BulkItem) -> list[Plan]:
        found = match(event, [Rule("unpublish-archived (command)", (event.name,), spec)])
        # It leaves a part of the quota to what webhooks ask for.
        return [replace(plan, args={**plan.args, "bulk": True}) for plan in found]

    return plans
