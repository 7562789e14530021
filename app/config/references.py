"""Joins what the environment and the file say, and checks what needs both.

This module must not know how either was read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.config.document import Document
from app.config.environment import HUB_KEY, Environment
from app.config.fields import did_you_mean
from app.config.problems import Finding, Path
from app.config.settings import (
    Destination,
    ForwardSpec,
    Hub,
    LocalizeSpec,
    Rule,
    UnpublishSpec,
)

_ACTIONS = {LocalizeSpec: "localize", ForwardSpec: "forward", UnpublishSpec: "unpublish"}
_REQUIRED = (
    "The webhook's secret is required.\n"
    "Set it to the secret that Amplience shows for the webhook, as it stands there."
)
_NEEDS_CREDENTIALS = (
    "It needs credentials for the Management API.\n"
    "Set AMPLIENCE_CLIENT_ID and AMPLIENCE_CLIENT_SECRET, or AMPLIENCE_PERSONAL_ACCESS_TOKEN."
)
_NEEDS_DELIVERY = (
    "It needs to know where to pull content from.\n"
    "Set AMPLIENCE_HUB_NAME, or AMPLIENCE_DELIVERY_URL."
)


@dataclass(frozen=True)
class Claim:
    """What a rule takes for granted outside itself, and where it stands.

    `path` leads into the file, or names the variable that made the rule. A rule with faults has a
    claim too, of what could be read of it, so that everything is reported at once.
    """

    path: Path
    in_file: bool
    name: str | None
    hub: str | None
    to: tuple[str, ...]
    action: str | None

    def fault(self, text: str, *inside: str | int) -> Finding:
        """A fault at the rule, or at a setting `inside` it; a variable has no inside."""
        return Finding((*self.path, *inside) if self.in_file else self.path, text, self.in_file)


def _claim(rule: Rule | Mapping[str, Any], *path: str | int, in_file: bool) -> Claim:
    if isinstance(rule, Rule):
        read: Mapping[str, Any] = {
            "name": rule.name,
            "hub": rule.hub,
            "to": getattr(rule.action, "to", ()),
            "action": _ACTIONS[type(rule.action)],
        }
    else:
        read = rule
    to = read.get("to")
    return Claim(
        path=path,
        in_file=in_file,
        name=read.get("name"),
        hub=read.get("hub"),
        to=to if isinstance(to, tuple) else (),
        action=read.get("action"),
    )


@dataclass(frozen=True)
class Joined:
    """Every hub, rule and destination without faults, and what is wrong between them."""

    hubs: tuple[Hub, ...]
    rules: tuple[Rule, ...]
    destinations: tuple[Destination, ...]
    findings: tuple[Finding, ...]


def join(environment: Environment, document: Document) -> Joined:
    """The file's hubs, rules and destinations join the environment's.

    The environment makes a hub only when the file has none: a file with hubs takes the variables
    that it wants by itself.
    """
    hubs = dict(document.hubs) or {HUB_KEY: environment.hub()}
    destinations: dict[str, Destination | None] = dict(document.destinations)
    destinations.update(environment.destinations())
    claims = [
        _claim({"name": name, "action": name}, variable, in_file=False)
        for variable, name in environment.asks_for().items()
    ]
    claims += [_claim(rule, "rules", at, in_file=True) for at, rule in enumerate(document.rules)]
    found = [*_same_names(environment, document, claims)]
    if document.readable:
        found += _missing_secret(environment, document)
        found += _unknown_alerted(document, destinations)
        for claim in claims:
            found += _unknown_names(claim, hubs, destinations)
            found += _unmet_needs(claim, hubs, from_environment=not document.hubs)
    return Joined(
        hubs=tuple(hub for hub in hubs.values() if hub),
        rules=(*environment.rules(), *(rule for rule in document.rules if isinstance(rule, Rule))),
        destinations=tuple(place for place in destinations.values() if place),
        findings=tuple(found),
    )


def _missing_secret(environment: Environment, document: Document) -> Iterator[Finding]:
    known = "WEBHOOK_SECRET" in environment.values or environment.refused("WEBHOOK_SECRET")
    if not document.hubs and not known:
        yield Finding(("WEBHOOK_SECRET",), _REQUIRED, in_file=False)


def _same_names(
    environment: Environment, document: Document, claims: list[Claim]
) -> Iterator[Finding]:
    makers = {name: variable for variable, name in environment.asks_for().items()}
    seen: set[str] = set()
    for claim in claims:
        if claim.name in seen:
            maker = makers.get(claim.name)
            other = f"{maker} makes a rule of" if maker else "Another rule has"
            yield claim.fault(f"{other} this name.\nGive each a name of its own.", "name")
        if claim.name:
            seen.add(claim.name)
    for name in environment.destinations():
        if name in document.destinations:
            text = (
                "FORWARD_URL makes a destination of this name.\nRename one, or unset the variable."
            )
            yield Finding(("destinations", name), text)


def _unknown_alerted(document: Document, destinations: Mapping[str, object]) -> Iterator[Finding]:
    for at, name in enumerate(document.alerts.to):
        if name not in destinations:
            text = f"There is no such destination.\n{did_you_mean(name, destinations)}"
            yield Finding(("alerts", "to", at), text)


def _unknown_names(
    claim: Claim, hubs: Mapping[str, object], destinations: Mapping[str, object]
) -> Iterator[Finding]:
    if claim.hub is not None and claim.hub not in hubs:
        yield claim.fault(f"There is no such hub.\n{did_you_mean(claim.hub, hubs)}", "hub")
    for at, name in enumerate(claim.to):
        if name not in destinations:
            text = f"There is no such destination.\n{did_you_mean(name, destinations)}"
            yield claim.fault(text, "to", at)


def _unmet_needs(
    claim: Claim, hubs: Mapping[str, Hub | None], *, from_environment: bool
) -> Iterator[Finding]:
    """What the rule's action needs of every hub whose events it takes."""
    for hub in hubs.values():
        if hub is None or claim.hub not in (None, hub.key):
            continue
        if claim.action in ("localize", "unpublish") and hub.credentials is None:
            lacks, give = "credentials", "client_id and client_secret, or personal_access_token"
            general = _NEEDS_CREDENTIALS
        elif claim.action == "forward" and hub.delivery is None:
            lacks, give = "place to pull content from", "name, or a delivery with a url"
            general = _NEEDS_DELIVERY
        else:
            continue
        special = f"The hub {hub.key} has no {lacks}.\nGive [hubs.{hub.key}] {give}."
        yield claim.fault(general if from_environment else special)
