"""The TOML file's half of the configuration: hubs, rules and destinations.

This module must not know what the environment makes of its own.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from marshmallow import ValidationError, fields

from app.config.file import substitute
from app.config.hub_tables import AlertsTable, DestinationTable, HubTable, Table
from app.config.problems import Finding, flatten
from app.config.rule_tables import RuleField
from app.config.settings import Alerts, Destination, Hub, Rule
from app.config.tables import EntryList, NamedTables


@dataclass(frozen=True)
class Document:
    """What the file says. A hub or destination of None is named there, but has faults.

    A rule with faults is the mapping of what could be read of it. `rule_names` has the name of each
    rule that can be told by it. `readable` is False when nobody knows what the file wants to say.
    """

    hubs: Mapping[str, Hub | None] = field(default_factory=dict)
    rules: tuple[Rule | Mapping[str, Any], ...] = ()
    destinations: Mapping[str, Destination | None] = field(default_factory=dict)
    alerts: Alerts = field(default_factory=Alerts)
    rule_names: list[str | None] = field(default_factory=list)
    findings: tuple[Finding, ...] = ()
    readable: bool = True


class DocumentTable(Table):
    """The whole file."""

    hubs = NamedTables(fields.Nested(HubTable))
    rules = EntryList(
        RuleField(),
        error_messages={"invalid": "Rules are a list of tables.\nHead each one with [[rules]]."},
    )
    destinations = NamedTables(fields.Nested(DestinationTable))
    alerts = fields.Nested(AlertsTable)


def read_document(path: Path, *, variables: Mapping[str, str], required: bool) -> Document:
    """Read the file at `path`; that it is not there is a fault only when it is `required`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        written = tomllib.loads(text)
    except FileNotFoundError:
        if not required:
            return Document()
        return _unreadable("There is no such file.\nCorrect RELAY_CONFIG or unset it.")
    except OSError as error:
        return _unreadable(f"The file cannot be read: {error.strerror}.\nLet the service read it.")
    except UnicodeDecodeError:
        return _unreadable("The file is not UTF-8.\nSave it as UTF-8.")
    except tomllib.TOMLDecodeError as error:
        return _unreadable(
            f"The file is not TOML: {error}.\nCorrect it there; see https://toml.io."
        )
    return check_document(written, variables=variables)


def _unreadable(text: str) -> Document:
    return Document(findings=(Finding((), text),), readable=False)


def check_document(written: Mapping[str, Any], *, variables: Mapping[str, str]) -> Document:
    """Put the variables in and check every table of a parsed file."""
    filled, found = substitute(written, variables)
    try:
        loaded = DocumentTable().load(filled)
    except ValidationError as error:
        loaded = error.valid_data if isinstance(error.valid_data, dict) else {}
        unset = {each.path for each in found}
        # A text whose variable is missing was reported already, whatever else is wrong with it.
        found += [
            Finding(place, text) for place, text in flatten(error.messages) if place not in unset
        ]
    return Document(
        hubs={
            key: replace(hub, key=key) if isinstance(hub, Hub) else None
            for key, hub in _named(filled, loaded, "hubs").items()
        },
        rules=tuple(loaded.get("rules", ())),
        destinations={
            name: replace(place, name=name) if isinstance(place, Destination) else None
            for name, place in _named(filled, loaded, "destinations").items()
        },
        alerts=alerts if isinstance(alerts := loaded.get("alerts"), Alerts) else Alerts(),
        rule_names=_rule_names(written.get("rules")),
        findings=tuple(found),
    )


def _named(filled: Mapping[str, Any], loaded: Mapping[str, Any], table: str) -> dict[str, Any]:
    """What was loaded, and None for each name that is in the file and could not be."""
    names = filled.get(table)
    good = loaded.get(table, {})
    return {name: good.get(name) for name in names} if isinstance(names, dict) else {}


def _rule_names(rules: Any) -> list[str | None]:
    """Each rule's name as it is written, where no other has it and no variable is in it."""
    if not isinstance(rules, list):
        return []
    names = [_own_name(rule) for rule in rules]
    times = Counter(names)
    return [name if times[name] == 1 else None for name in names]


def _own_name(rule: Any) -> str | None:
    name = rule.get("name") if isinstance(rule, dict) else None
    return name if isinstance(name, str) and name.strip() and "${" not in name else None
