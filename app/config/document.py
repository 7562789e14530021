"""The TOML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from app.config.findings import Finding
from app.config.settings import Destination, Hub, Rule


@dataclass(frozen=True)
class Document:
    """What the file says. A hub or destination of None is named there, but has faults.

    `rules` are under their position in the file; those with faults are missing. `readable` is
    False when nobody knows what the file wants to say.
    """

    hubs: Mapping[str, Hub | None] = field(default_factory=dict)
    rules: Mapping[int, Rule] = field(default_factory=dict)
    destinations: Mapping[str, Destination | None] = field(default_factory=dict)
    rule_names: list[str | None] = field(default_factory=list)
    findings: tuple[Finding, ...] = ()
    readable: bool = True


def read_document(path: Path, *, variables: Mapping[str, str], required: bool) -> Document:
    return Document()
