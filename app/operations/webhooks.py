"""Our webhook on a hub: what the rules need, how the existing one differs, and creating it.

A webhook is ours when its label says so and names an address that it is sent to. No other one is
ever changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from app.amplience.management import ManagementClient
from app.amplience.webhooks import Webhook
from app.config import Hub, Rule, Settings
from app.errors import AmplienceError
from app.events import KNOWN_EVENT_NAMES, SNAPSHOT_PUBLISHED
from app.operations import RequestInvalid
from app.operations.bulk import is_glob, rules_of
from app.operations.webhook_log import is_ours, label_for, own_webhooks

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


def webhook_address(settings: Settings, hub: Hub, url: str) -> str:
    """The URL with its `{hub}` filled in; raises `RequestInvalid` where it cannot be the hub's."""
    address = url.replace("{hub}", hub.key)
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and parts.hostname
    except ValueError:
        usable = None
    if not usable:
        raise RequestInvalid("--url: write a whole URL, such as https://relay.example/webhooks.")
    if len(settings.hubs) > 1 and parts.path.rstrip("/").rpartition("/")[2] != hub.key:
        raise RequestInvalid(
            f"There are several hubs: the path must end with this one's key, /webhooks/{hub.key}."
        )
    return address


def wanted_webhook(settings: Settings, hub: Hub, url: str) -> WantedWebhook:
    """What the rules of the hub need; raises `RequestInvalid` where no rule wants an event."""
    rules = rules_of(settings, hub)
    names = {name for rule in rules for name in rule.events}
    if not names & KNOWN_EVENT_NAMES:
        raise RequestInvalid(f"No rule wants any event of the hub {hub.key}.")
    url = webhook_address(settings, hub, url)
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


def differences(found: Webhook | None, wanted: WantedWebhook) -> dict[str, Any]:
    """What must be changed of our webhook, under Amplience's names; for None, what a new one gets.

    What reads back as null is no difference: Amplience does not show secrets.
    """
    changes: dict[str, Any] = {}
    if found is None or set(found.events) != set(wanted.events):
        changes["events"] = list(wanted.events)
    if found and found.active is False:
        changes["active"] = True
    if found and found.method not in (None, "POST"):
        changes["method"] = "POST"
    if found is None or found.secret not in (None, wanted.secret):
        changes["secret"] = wanted.secret
    if found is None or _compared(found.extra.get("filters")) != _compared(wanted.filters):
        changes["filters"] = list(wanted.filters)
    return changes


def _compared(filters: Any) -> list[tuple[Any, ...]]:
    """The parts of filters that matter, whatever else they read back with."""
    found = []
    for one in filters or ():
        parts: dict[str, Any] = {}
        for argument in one.get("arguments") or ():
            parts |= argument
        found.append((one.get("type"), parts.get("jsonPath"), parts.get("value")))
    return found


def create_webhook(client: ManagementClient, hub_id: str, wanted: WantedWebhook) -> Webhook:
    """Create it once, even if the answer is lost."""
    try:
        return client.create_webhook(
            hub_id,
            label=wanted.label,
            events=wanted.events,
            handlers=[wanted.url],
            secret=wanted.secret,
            filters=wanted.filters,
        )
    except AmplienceError as problem:
        made = []
        if problem.maybe_done:
            made = [one for one in client.webhooks(hub_id) if one.label == wanted.label]
        if not made:
            raise
        return made[0]


def webhooks_made_here(webhooks: Sequence[Webhook], address: str | None) -> list[Webhook]:
    """Those that this service made, or only the one for `address`."""
    return [
        one
        for one in webhooks
        if is_ours(one) and (address is None or one.label == label_for(address))
    ]


def logged_webhook(webhooks: Sequence[Webhook], hub: Hub, address: str | None) -> Webhook:
    """The one webhook whose log tells what this installation missed.

    Raises `RequestInvalid` where there is none, or several and no `address`.
    """
    ours = webhooks_made_here(own_webhooks(webhooks, hub.webhook_secrets), address)
    if not ours:
        raise RequestInvalid(
            "The hub has no webhook that this service made: `dc-relay webhooks register` makes one."
        )
    if len(ours) > 1:
        labels = ", ".join(str(one.label) for one in ours)
        raise RequestInvalid(f"There are several webhooks: choose one with --url. {labels}")
    return ours[0]
