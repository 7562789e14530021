"""What the tables of a document need of each other: names that exist, hubs that can do the work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.config.fields import did_you_mean
from app.config.problems import Fault, Path
from app.config.settings import ForwardSpec, Hub, LocalizeSpec, Rule, UnpublishSpec

_ACTIONS = {LocalizeSpec: "localize", ForwardSpec: "forward", UnpublishSpec: "unpublish"}


def reference_faults(loaded: Mapping[str, Any]) -> Iterator[Fault]:
    """The faults between tables. `loaded` may hold mappings in place of values with faults."""
    hubs = _tables(loaded, "hubs")
    destinations = _tables(loaded, "destinations")
    rules = [_RuleView(at, rule) for at, rule in enumerate(loaded.get("rules", ()))]
    names = [rule.name for rule in rules]
    for at, rule in enumerate(rules):
        if rule.name and rule.name in names[:at]:
            yield Fault((*rule.path, "name"), _SAME_NAME)
        if rule.hub is not None and rule.hub not in hubs:
            text = f"There is no such hub.\n{did_you_mean(rule.hub, hubs)}"
            yield Fault((*rule.path, "hub"), text)
        yield from _unknown_destinations((*rule.path, "to"), rule.to, destinations)
        for key, hub in hubs.items():
            if isinstance(hub, Hub) and rule.hub in (None, key):
                yield from _unmet_needs(rule, key, hub, alone=len(hubs) == 1)
    alerts = loaded.get("alerts")
    yield from _unknown_destinations(("alerts", "to"), getattr(alerts, "to", ()), destinations)


_SAME_NAME = (
    "Another rule has this name.\nGive each rule a name of its own; LOCALIZE_LOCALES makes a rule"
    " localize, and FORWARD_URL a rule forward."
)


def _tables(loaded: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    tables = loaded.get(name)
    return tables if isinstance(tables, Mapping) else {}


class _RuleView:
    """The settings of a rule that refer to others: of a `Rule`, or of what could be read of one."""

    def __init__(self, at: int, rule: Rule | Mapping[str, Any]) -> None:
        self.path: Path = ("rules", at)
        if isinstance(rule, Rule):
            read: Mapping[str, Any] = {
                "name": rule.name,
                "hub": rule.hub,
                "to": getattr(rule.action, "to", ()),
                "action": _ACTIONS[type(rule.action)],
            }
        else:
            read = rule
        self.name, self.hub, self.action = map(read.get, ("name", "hub", "action"))
        to = read.get("to")
        self.to: Sequence[str] = to if isinstance(to, tuple) else ()


def _unknown_destinations(
    path: Path, names: Sequence[str], destinations: Mapping[str, Any]
) -> Iterator[Fault]:
    for at, name in enumerate(names):
        if name not in destinations:
            text = f"There is no such destination.\n{did_you_mean(name, destinations)}"
            yield Fault((*path, at), text)


def _unmet_needs(rule: _RuleView, key: str, hub: Hub, *, alone: bool) -> Iterator[Fault]:
    """What the rule's action needs of a hub whose events it takes. A hub alone takes variables."""
    if rule.action in ("localize", "unpublish") and hub.credentials is None:
        lacks = "credentials for the Management API"
        settings = "client_id and client_secret, or personal_access_token"
        variables = (
            "AMPLIENCE_CLIENT_ID and AMPLIENCE_CLIENT_SECRET, or AMPLIENCE_PERSONAL_ACCESS_TOKEN"
        )
    elif rule.action == "forward" and hub.delivery is None:
        lacks = "place to pull content from"
        settings = "name, or a delivery with a url"
        variables = "AMPLIENCE_HUB_NAME, or AMPLIENCE_DELIVERY_URL"
    else:
        return
    advice = f"Set {variables}; or give" if alone else "Give"
    yield Fault(rule.path, f"The hub {key} has no {lacks}.\n{advice} [hubs.{key}] {settings}.")
