"""`dc-relay resync`: bring one destination in line with all that is published.

First everything that Content Delivery 2 finds is sent, by the rules that send it day by day. Then
what the destination was sent earlier and is published no more is removed, but only what both APIs
say is gone. It only lists: the jobs are those of the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import Any

import click

from app.amplience.answers import value_at
from app.amplience.delivery import DeliveredContent, DeliveryClient
from app.cli.bulk import BulkCommand, BulkOptions, bulk_options, run_bulk
from app.cli.choosing import chosen_destination, chosen_hub, management_of
from app.cli.starting import ready_schema_or_exit, settings_or_exit
from app.config import Destination, ForwardSpec, Hub, Rule, Settings
from app.config.settings import Where
from app.errors import Refused
from app.events import WebhookEvent
from app.ledger.bulk import published_before
from app.ledger.coalescing import DELETED
from app.operations.listing import BulkItem, Part
from app.operations.published import Removals, published_pages
from app.rules import Plan, match
from app.storage import Storage


@dataclass(frozen=True)
class _Wanted:
    """What is brought in line: `rules` say in what form things are sent to `place`."""

    hub: Hub
    place: Destination
    schemas: tuple[str, ...]
    rules: tuple[Rule, ...]


@click.command()
@click.option("--to", required=True, metavar="DESTINATION", help="The destination.")
@click.option("--schema", "schemas", multiple=True, required=True, metavar="URI")
@click.option("--rule", "rule_name", help="Only this rule, without its other conditions.")
@click.option("--remove-many", is_flag=True, help="Remove, even if it is more than half.")
@bulk_options(default_per_minute=1200)
def resync(
    *,
    to: str,
    schemas: tuple[str, ...],
    rule_name: str | None,
    remove_many: bool,
    hub_key: str | None,
    per_minute: float,
    **options: Any,
) -> None:
    """Send a destination all published content of some content types, and remove what is gone.

    Each item is sent as the forward rules for that destination and schema say. A rule that has
    conditions which published content cannot be tested for (match, locale, repository, status) is
    left out unless it is named with --rule. Removing needs credentials for the Management API.
    """
    settings = settings_or_exit()
    hub = chosen_hub(settings, hub_key)
    place = chosen_destination(settings, to)
    if hub.delivery is None:
        raise click.UsageError(f"The hub {hub.key} has no place to read published content from.")
    known = tuple(sorted(set(schemas)))
    wanted = _Wanted(hub, place, known, _rules(settings, hub, place, known, rule_name))
    chosen = BulkOptions(**options)
    with ExitStack() as opened:
        client = opened.enter_context(closing(DeliveryClient(hub.delivery)))
        removals = replace(
            _removals(settings, wanted, client, opened),
            many=remove_many,
            only_tell=chosen.dry_run,
        )
        command = BulkCommand(
            kind="resync",
            hub=hub.key,
            args={"hub": hub.key, "to": to, "schemas": list(known), "rule": rule_name},
            parts=_parts(wanted, client, removals),
            plans=_plans(settings, wanted),
            per_minute=per_minute,
        )
        run_bulk(settings, command, chosen)


def _rules(
    settings: Settings,
    hub: Hub,
    place: Destination,
    schemas: Sequence[str],
    name: str | None,
) -> tuple[Rule, ...]:
    sending = [
        rule
        for rule in settings.rules
        if rule.hub in (None, hub.key)
        and isinstance(rule.action, ForwardSpec)
        and place.name in rule.action.to
    ]
    if name is not None:
        named = [replace(rule, where=Where(), match=()) for rule in sending if rule.name == name]
        if not named:
            raise click.UsageError(f"No forward rule {name!r} sends to {place.name}.")
        return tuple(named)
    fitting = tuple(rule for rule in sending if _is_testable(rule))
    for schema in schemas:
        if not any(_wants(rule, hub, schema) for rule in fitting):
            names = ", ".join(repr(rule.name) for rule in sending) or "none"
            raise click.UsageError(
                f"No rule sends {schema} to {place.name} without further conditions."
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


def _plans(settings: Settings, wanted: _Wanted) -> Callable[[WebhookEvent, BulkItem], list[Plan]]:
    def plans(event: WebhookEvent, item: BulkItem) -> list[Plan]:
        rules = [replace(rule, events=(event.name,)) for rule in wanted.rules]
        found = match(event, rules, settings.destinations)
        found = [plan for plan in found if plan.target == wanted.place.name]
        if "version" not in item.extra:
            return found
        # When it is gone, it is gone for every rule: one job tells it.
        return [
            replace(
                plan,
                version=item.extra["version"],
                args={
                    "kind": DELETED,
                    "item_id": item.id,
                    "delivery_key": item.extra["delivery_key"],
                },
            )
            for plan in found[:1]
        ]

    return plans


def _parts(
    wanted: _Wanted, client: DeliveryClient, removals: Removals
) -> Callable[[Any, Callable[[], set[str]]], Iterator[Part]]:
    def parts(position: Any, listed: Callable[[], set[str]]) -> Iterator[Part]:
        at, cursor = (position["schema"], position["cursor"]) if position else (0, None)
        for number in range(at, len(wanted.schemas)):
            schema = wanted.schemas[number]
            try:
                yield from _published(client, schema, number, cursor)
            except Refused:
                if cursor is None:
                    raise
                # A cursor of another day may not be one any more.
                yield from _published(client, schema, number, None)
            cursor = None
        end = {"schema": len(wanted.schemas), "cursor": None}
        for items in removals.parts(listed()):
            yield Part(items, end)

    return parts


def _published(
    client: DeliveryClient, schema: str, number: int, cursor: str | None
) -> Iterator[Part]:
    for page in published_pages(client, schema, cursor):
        following = {"schema": number, "cursor": page.cursor}
        if page.cursor is None:
            following = {"schema": number + 1, "cursor": None}
        found = [_item(content, schema) for content in page.contents]
        yield Part(tuple(item for item in found if item), following)


def _item(found: DeliveredContent, schema: str) -> BulkItem | None:
    identifier = value_at(found.content, "_meta", "deliveryId")
    name = value_at(found.content, "_meta", "name")
    if not isinstance(identifier, str):
        return None
    return BulkItem(
        identifier, "send", label=name if isinstance(name, str) else None, schema=schema
    )


def _removals(
    settings: Settings, wanted: _Wanted, client: DeliveryClient, opened: ExitStack
) -> Removals:
    hub = wanted.hub
    management = opened.enter_context(management_of(settings, hub)) if hub.credentials else None

    def sent() -> dict[str, tuple[str, int]]:
        with closing(Storage(settings.database_url)) as storage:
            ready_schema_or_exit(storage)
            return published_before(
                storage, destination=wanted.place.name, hub=hub.key, schemas=wanted.schemas
            )

    return Removals(sent=sent, delivery=client, management=management)
