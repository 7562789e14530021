"""Environment variables: they become parts of the document, beside those of the file.

The variables alone describe one hub, one localize rule, and one forward rule with its destination.
Where the file has exactly one hub, they fill the settings that it leaves out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.config.document import FILE_TABLES, ServiceTable
from app.config.fields import did_you_mean
from app.config.file import Substituted
from app.config.problems import Fault, Path
from app.events import CONTENT_ITEM_CREATED, SNAPSHOT_PUBLISHED

HUB_KEY = "main"
DESTINATION_NAME = "default"

# What each variable sets: a path in the table of a hub, a rule or a destination.
_HUB: Mapping[str, Path] = {
    "WEBHOOK_SECRET": ("webhook_secrets",),
    "AMPLIENCE_PERSONAL_ACCESS_TOKEN": ("personal_access_token",),
    "AMPLIENCE_CLIENT_ID": ("client_id",),
    "AMPLIENCE_CLIENT_SECRET": ("client_secret",),
    "AMPLIENCE_HUB_ID": ("id",),
    "AMPLIENCE_HUB_NAME": ("name",),
    "AMPLIENCE_DELIVERY_URL": ("delivery", "url"),
    "AMPLIENCE_FRESH_API_KEY": ("delivery", "api_key"),
}
_LOCALIZE: Mapping[str, Path] = {
    "LOCALIZE_LOCALES": ("locales",),
    "LOCALIZE_SOURCE_LOCALE": ("source_locale",),
}
_DESTINATION: Mapping[str, Path] = {
    "FORWARD_URL": ("url",),
    "FORWARD_SIGNING_SECRET": ("signing_secret",),
    "FORWARD_ALLOW_PRIVATE": ("allow_private",),
}
_SERVICE: Mapping[str, Path] = {name.upper(): (name,) for name in ServiceTable().fields}
ENVIRONMENT_VARIABLES = (*_SERVICE, *_HUB, *_LOCALIZE, *_DESTINATION)


def without_blanks(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that are set: an empty one counts as not set, as `docker -e X=` makes it."""
    return {name: value.strip() for name, value in environ.items() if value.strip()}


@dataclass
class Merged:
    """The document of the variables and the file.

    `variables` has the variable of each path that a variable sets, or could set in a table that
    variables make. `used` names the variables that are in the document.
    """

    document: dict[str, Any] = field(default_factory=dict)
    variables: dict[Path, str] = field(default_factory=dict)
    rule_labels: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)

    def put(
        self, names: Mapping[str, Path], values: Mapping[str, str], into: dict[str, Any], at: Path
    ) -> None:
        """Set every one of the variables `names` in the table `into`, which stands at the path."""
        for name, path in names.items():
            self.variables[(*at, *path)] = name
            if name in values:
                _set(into, path, values[name])
                self.used.add(name)


def merge(file: Substituted, values: Mapping[str, str]) -> Merged:
    """Put the `file` and the variables `values` together; `values` holds no blank ones."""
    merged = Merged()
    merged.put(_SERVICE, values, merged.document, ())
    for key, table in file.document.items():
        if key in FILE_TABLES:
            merged.document[key] = table
        else:
            merged.faults.append(_unknown_table(key))
    _merge_hubs(merged, values)
    _merge_rules(merged, values, file.rule_labels)
    _merge_destination(merged, values)
    if "SENTRY_DSN" not in values:
        merged.used.discard("SENTRY_ENVIRONMENT")
    return merged


def _unknown_table(key: str) -> Fault:
    if key.upper() in _SERVICE:
        # Its path is that of the variable, which may be set as well.
        text = f"The setting {key} is not for the file.\nSet the variable {key.upper()} instead."
        return Fault((), text)
    return Fault((key,), f"There is no such setting.\n{did_you_mean(key, FILE_TABLES)}")


def _merge_hubs(merged: Merged, values: Mapping[str, str]) -> None:
    hubs = merged.document.setdefault("hubs", {})
    if not isinstance(hubs, dict):
        return
    if not hubs:
        hubs[HUB_KEY] = {}
        # A fault of the hub that no setting of its own explains.
        merged.variables[("hubs", HUB_KEY)] = "WEBHOOK_SECRET"
        merged.variables |= {("hubs", HUB_KEY, *path): name for name, path in _HUB.items()}
    if len(hubs) == 1:
        [(key, table)] = hubs.items()
        if isinstance(table, dict):
            # One by one: what is filled decides what else is left out.
            for name, path in _HUB.items():
                if name in values and _is_left_out(path, table):
                    merged.put({name: path}, values, table, ("hubs", key))


def _is_left_out(path: Path, hub: Mapping[str, Any]) -> bool:
    """Whether the hub has no such setting, nor another one that stands in its place."""
    delivery = hub.get("delivery", {})
    if not isinstance(delivery, dict) or _get(hub, path) is not None:
        return False
    match path:
        case ("personal_access_token",):
            return not {"client_id", "client_secret"} & hub.keys()
        case ("client_id",) | ("client_secret",):
            return "personal_access_token" not in hub
        case ("delivery", "url"):
            return "staging_host" not in delivery
        case ("delivery", "api_key"):
            fresh = delivery.get("source", "fresh") == "fresh"
            return fresh and ("name" in hub or "url" in delivery)
    return True


def _merge_rules(merged: Merged, values: Mapping[str, str], labels: Iterable[str]) -> None:
    written = merged.document.get("rules", [])
    if not isinstance(written, list):
        text = "Rules are a list of tables.\nHead each one with [[rules]]."
        merged.faults.append(Fault(("rules",), text))
        written = []
    rules: list[Any] = []
    if "LOCALIZE_LOCALES" in values:
        rule = {"name": "localize", "events": [CONTENT_ITEM_CREATED], "action": "localize"}
        merged.variables[("rules", len(rules))] = "LOCALIZE_LOCALES"
        merged.put(_LOCALIZE, values, rule, ("rules", len(rules)))
        rules.append(rule)
    if "FORWARD_URL" in values:
        merged.variables[("rules", len(rules))] = "FORWARD_URL"
        rule = {"name": "forward", "events": [SNAPSHOT_PUBLISHED], "action": "forward"}
        rules.append({**rule, "to": [DESTINATION_NAME]})
    merged.document["rules"] = [*rules, *written]
    merged.rule_labels = [*(rule["name"] for rule in rules), *labels]


def _merge_destination(merged: Merged, values: Mapping[str, str]) -> None:
    destinations = merged.document.setdefault("destinations", {})
    if "FORWARD_URL" not in values or not isinstance(destinations, dict):
        return
    path: Path = ("destinations", DESTINATION_NAME)
    if DESTINATION_NAME in destinations:
        text = "FORWARD_URL makes a destination of this name.\nRename one, or unset the variable."
        merged.faults.append(Fault(path, text))
        return
    destinations[DESTINATION_NAME] = {}
    merged.variables[path] = "FORWARD_URL"
    merged.put(_DESTINATION, values, destinations[DESTINATION_NAME], path)


def _get(table: Any, path: Path) -> Any:
    for step in path:
        table = table.get(step) if isinstance(table, dict) else None
    return table


def _set(table: dict[str, Any], path: Path, value: str) -> None:
    for step in path[:-1]:
        table = table.setdefault(str(step), {})
    table[str(path[-1])] = value
