"""What our webhook on a hub should be, and how the one that is there differs. Pure.

A webhook is ours when its label says so and names an address that it is sent to. No other one is
ever changed. Nothing is asked or changed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.amplience.webhooks import Webhook
from app.config import Hub, Rule, Settings
from app.events import KNOWN_EVENT_NAMES, SNAPSHOT_PUBLISHED
from app.operations.listing import is_glob
from app.operations.webhook_log import label_for

# Where the content type's URI is: https://amplience.com/developers/docs/integrations/webhooks/
_SCHEMA_OF_ITEM = "$.payload.body._meta.schema"


@dataclass(frozen=True)
class WantedWebhook:
    """The webhook as the rules in use need it. `secret` is the hub's first webhook secret."""

    label: str
    url: str
    events: tuple[str, ...]
    filters: tuple[Mapping[str, Any], ...]
    secret: str


def wanted_webhook(settings: Settings, hub: Hub, url: str) -> WantedWebhook:
    """What the rules of the hub need; without `events` where no rule wants any."""
    rules = [rule for rule in settings.rules if rule.hub in (None, hub.key)]
    names = {name for rule in rules for name in rule.events}
    return WantedWebhook(
        label=label_for(url),
        url=url,
        events=tuple(sorted(names & KNOWN_EVENT_NAMES)),
        filters=_filters(rules, names),
        secret=hub.webhook_secrets[0],
    )


def _filters(rules: Sequence[Rule], names: set[str]) -> tuple[Mapping[str, Any], ...]:
    """One filter on the schema, where it lets through all that any rule wants; else none.

    Filters compare one value exactly, and all must hold: a snapshot, which may have several root
    items, cannot have one.
    """
    schemas = [schema for rule in rules for schema in rule.where.schema]
    if not schemas or not all(rule.where.schema for rule in rules):
        return ()
    if SNAPSHOT_PUBLISHED in names or any(is_glob(schema) for schema in schemas):
        return ()
    values = sorted(set(schemas))
    return ({"type": "in", "arguments": [{"jsonPath": _SCHEMA_OF_ITEM}, {"value": values}]},)


def differences(found: Webhook, wanted: WantedWebhook) -> dict[str, Any]:
    """What must be changed of a webhook of ours, under Amplience's names.

    What reads back as null is no difference: Amplience does not show secrets.
    """
    changes: dict[str, Any] = {}
    if set(found.events) != set(wanted.events):
        changes["events"] = list(wanted.events)
    if found.active is False:
        changes["active"] = True
    if found.method not in (None, "POST"):
        changes["method"] = "POST"
    if found.secret not in (None, wanted.secret):
        changes["secret"] = wanted.secret
    if _said(found.extra.get("filters")) != _said(wanted.filters):
        changes["filters"] = list(wanted.filters)
    return changes


def _said(filters: Any) -> list[tuple[Any, ...]]:
    """What filters say, whatever else they read back with."""
    found = []
    for one in filters or ():
        parts: dict[str, Any] = {}
        for argument in one.get("arguments") or ():
            parts |= argument
        found.append((one.get("type"), parts.get("jsonPath"), parts.get("value")))
    return found


def in_words(found: Webhook | None, changes: Mapping[str, Any]) -> list[str]:
    """Lines that show what changes, without the secret."""
    lines = []
    for name, value in changes.items():
        if name == "secret":
            lines.append("  secret: the first webhook secret of the settings")
        elif name == "events":
            before = set(found.events) if found else set()
            lines += [f"  events: + {event}" for event in sorted(set(value) - before)]
            lines += [f"  events: - {event}" for event in sorted(before - set(value))]
        elif name == "filters":
            lines.append(f"  filters: {_filter_words(value)}")
        else:
            lines.append(f"  {name}: {value}")
    return lines


def _filter_words(filters: Sequence[Mapping[str, Any]]) -> str:
    if not filters:
        return "none"
    (path, values) = filters[0]["arguments"]
    return f"{path['jsonPath']} in {', '.join(values['value'])}"
