"""Take archived items that are still published off delivery.

Archiving does not unpublish. The jobs are those of an unpublish rule, and respect the quota:
https://amplience.com/developers/docs/apis/content-management/content-management-overview
(Unpublishing all archived content items).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from app.amplience.facets import FacetField, FacetQuery
from app.amplience.management import ManagementClient
from app.amplience.publishing import PUBLISHED
from app.config import Hub, Rule, Settings, UnpublishSpec
from app.events import WebhookEvent
from app.operations.bulk import BulkItem, BulkOperation, Part, bulk_item, found_items, rules_of
from app.queue.quotas import BULK_LEAVES
from app.rules import Plan, match

# Unpublishing an item that is not published is an error, so only those are asked for.
_ARCHIVED_AND_PUBLISHED = FacetQuery(
    having=(("status", "ARCHIVED"),),
    fields=(FacetField("publishingStatus", tuple(sorted(PUBLISHED))),),
)


@dataclass(frozen=True)
class UnpublishArchived(BulkOperation):
    """Unpublish a hub's archived items. `to` names destinations that get a deletion."""

    kind = "unpublish-archived"
    client: ManagementClient
    hub_id: str
    to: tuple[str, ...]

    @property
    def args(self) -> dict[str, Any]:
        """What makes two runs the same."""
        return {"hub": self.hub.key, "to": list(self.to)}

    def parts(self, _position: Any, _listed: Callable[[], set[str]]) -> Iterator[Part]:
        """List all items in one part."""
        # All pages first: what is unpublished meanwhile would move others to pages that were read.
        pages = list(found_items(self.client, self.hub_id, _ARCHIVED_AND_PUBLISHED))
        yield Part(tuple(bulk_item(item, "unpublish") for page in pages for item in page))

    def plans(self, event: WebhookEvent, _item: BulkItem) -> list[Plan]:
        """Plan as an unpublish rule would, and leave a part of the quota to webhooks."""
        rule = Rule("unpublish-archived (command)", (event.name,), UnpublishSpec(to=self.to))
        return [replace(plan, args={**plan.args, "bulk": True}) for plan in match(event, [rule])]


def default_destinations(settings: Settings, hub: Hub) -> tuple[str, ...]:
    """The destinations of the hub's unpublish rule, if it has exactly one."""
    specs = [r.action for r in rules_of(settings, hub) if isinstance(r.action, UnpublishSpec)]
    return specs[0].to if len(specs) == 1 else ()


def default_per_minute(settings: Settings) -> float:
    """What bulk work may use of the publishing quota, which is the whole company's."""
    return settings.publish_quota_per_minute * (1 - BULK_LEAVES)
