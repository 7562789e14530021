"""Bring one destination in line with all that is published.

First everything that Content Delivery 2 finds is sent, by the rules that send it day by day. Then
what the destination was sent earlier and is published no more is removed, but only what both APIs
say is gone. The jobs are those of the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.amplience.answers import value_at
from app.amplience.delivery import DeliveredContent, DeliveryClient
from app.config import Destination, ForwardSpec, Hub, Rule, Settings, Where
from app.errors import Refused
from app.events import WebhookEvent
from app.operations import RequestInvalid
from app.operations.bulk import BulkItem, BulkOperation, Part, rules_of
from app.operations.published import Removals, published_pages
from app.queue.coalescing import DELETED
from app.rules import Plan, match


@dataclass(frozen=True)
class Resync(BulkOperation):
    """Send `destination` the published items of `schemas`, then remove what is gone.

    `rules` say in what form; see `resync_rules`. `rule_name` is the one that was asked for.
    """

    kind = "resync"
    destination: str
    schemas: tuple[str, ...]
    rules: tuple[Rule, ...]
    rule_name: str | None
    destinations: tuple[Destination, ...]
    delivery: DeliveryClient
    removals: Removals

    @property
    def args(self) -> dict[str, Any]:
        """What makes two runs the same."""
        return {
            "hub": self.hub.key,
            "to": self.destination,
            "schemas": list(self.schemas),
            "rule": self.rule_name,
        }

    def parts(self, position: Any, listed: Callable[[], set[str]]) -> Iterator[Part]:
        """List what is published from `position` on, then what is to be removed."""
        first, cursor = (position["schema"], position["cursor"]) if position else (0, None)
        for number in range(first, len(self.schemas)):
            try:
                yield from self._published(number, cursor)
            except Refused:
                if cursor is None:
                    raise
                # A cursor of another day may not be one any more.
                yield from self._published(number, None)
            cursor = None
        end = {"schema": len(self.schemas), "cursor": None}
        for part in self.removals.parts(listed()):
            yield replace(part, position=end)

    def plans(self, event: WebhookEvent, item: BulkItem) -> list[Plan]:
        """Plan as the rules would for this destination; a removal is one job for all rules."""
        rules = [replace(rule, events=(event.name,)) for rule in self.rules]
        found = match(event, rules, self.destinations)
        found = [plan for plan in found if plan.target == self.destination]
        if "version" not in item.extra:
            return found
        args = {"kind": DELETED, "item_id": item.id, "delivery_key": item.extra["delivery_key"]}
        return [replace(plan, version=item.extra["version"], args=args) for plan in found[:1]]

    def _published(self, number: int, cursor: str | None) -> Iterator[Part]:
        schema = self.schemas[number]
        for page in published_pages(self.delivery, schema, cursor):
            following = {"schema": number, "cursor": page.cursor}
            if page.cursor is None:
                following = {"schema": number + 1, "cursor": None}
            found = [_item(content, schema) for content in page.contents]
            yield Part(tuple(item for item in found if item), following)


def resync_rules(
    settings: Settings, hub: Hub, destination: str, schemas: Sequence[str], name: str | None
) -> tuple[Rule, ...]:
    """The forward rules that published content can be tested for, or the one called `name`.

    The named rule applies without its conditions. Raises `RequestInvalid` where no rule fits, or
    none for one of the schemas.
    """
    sending = [
        rule
        for rule in rules_of(settings, hub)
        if isinstance(rule.action, ForwardSpec) and destination in rule.action.to
    ]
    if name is not None:
        named = [replace(rule, where=Where(), match=()) for rule in sending if rule.name == name]
        if not named:
            raise RequestInvalid(f"No forward rule {name!r} sends to {destination}.")
        return tuple(named)
    fitting = tuple(rule for rule in sending if _is_testable(rule))
    for schema in schemas:
        if not any(_wants(rule, hub, schema) for rule in fitting):
            names = ", ".join(repr(rule.name) for rule in sending) or "none"
            raise RequestInvalid(
                f"No rule sends {schema} to {destination} without further conditions."
                f" Rules that send there: {names}. Name one with --rule to use it all the same."
            )
    return fitting


def _is_testable(rule: Rule) -> bool:
    where = rule.where
    return not (rule.match or where.locale or where.repository or where.status)


def _wants(rule: Rule, hub: Hub, schema: str) -> bool:
    event = WebhookEvent(
        hub=hub.key, id="-", name="-", payload={}, body=b"", item_id="-", schema=schema
    )
    probe = replace(rule, events=(event.name,), where=Where(schema=rule.where.schema))
    return bool(match(event, [probe]))


def _item(found: DeliveredContent, schema: str) -> BulkItem | None:
    identifier = value_at(found.content, "_meta", "deliveryId")
    name = value_at(found.content, "_meta", "name")
    if not isinstance(identifier, str):
        return None
    label = name if isinstance(name, str) else None
    return BulkItem(identifier, "send", label=label, schema=schema)
