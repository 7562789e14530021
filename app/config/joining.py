"""Joins what the environment and the file say, and checks what needs both.

This module must not know how either was read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from app.config.document import Document
from app.config.environment import DESTINATION_NAME, HUB_KEY, Environment
from app.config.findings import Finding, Path
from app.config.settings import Destination, ForwardSpec, Hub, LocalizeSpec, Rule

_SECRET_MISSING = (
    "The webhook secret is required.\n"
    "Set it to the secret that Amplience shows at the webhook, as it stands there."
)


@dataclass(frozen=True)
class Joined:
    """Everything that hubs, rules and destinations are, or what is wrong between them."""

    hubs: tuple[Hub, ...]
    rules: tuple[Rule, ...]
    destinations: tuple[Destination, ...]
    findings: tuple[Finding, ...]


def join(environment: Environment, document: Document) -> Joined:
    """The file's hubs, rules and destinations join the environment's.

    The environment makes a hub only when the file has none: a file with hubs takes the variables
    that it wants itself.
    """
    hubs: dict[str, Hub | None] = dict(document.hubs) or {HUB_KEY: environment.hub()}
    destinations: dict[str, Destination | None] = dict(document.destinations)
    destinations.update((place.name, place) for place in environment.destinations())
    placed = [(_variable(name), rule) for name, rule in environment.rules().items()]
    placed += [(_in_file("rules", at), rule) for at, rule in document.rules.items()]
    return Joined(
        hubs=tuple(hub for hub in hubs.values() if hub),
        rules=tuple(rule for _, rule in placed),
        destinations=tuple(place for place in destinations.values() if place),
        findings=(),
    )


def _variable(name: str) -> Finding:
    return Finding((name,), "", in_file=False)


def _in_file(*path: str | int) -> Finding:
    return Finding(path, "")
