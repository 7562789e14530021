"""`"${NAME}"` in the file takes the value of an environment variable.

So a file can be kept in version control and hold no secret. This module must not know what a
setting means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from app.config.problems import Finding, Path

_REFERENCE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$\{")


def substitute(written: Any, variables: Mapping[str, str]) -> tuple[Any, list[Finding]]:
    """A copy of `written` with the variables put in, and a fault for each that is not set.

    Only values are looked at, never keys. `$${` stands for `${` itself. A text with a fault stays
    as it is.
    """
    found: list[Finding] = []
    return _walk(written, variables, (), found), found


def _walk(value: Any, variables: Mapping[str, str], path: Path, found: list[Finding]) -> Any:
    if isinstance(value, dict):
        return {key: _walk(each, variables, (*path, key), found) for key, each in value.items()}
    if isinstance(value, list):
        return [_walk(each, variables, (*path, at), found) for at, each in enumerate(value)]
    if not isinstance(value, str):
        return value
    faults = [Finding(path, text) for text in _faults(value, variables)]
    found.extend(faults)
    return value if faults else _REFERENCE.sub(lambda hit: _value(hit, variables), value)


def _faults(text: str, variables: Mapping[str, str]) -> Iterator[str]:
    for hit in _REFERENCE.finditer(text):
        if hit[0] == "${":
            yield 'This is not a reference.\nWrite "${NAME}", or "$${" for the signs.'
        elif hit[1] and hit[1] not in variables:
            yield f"The environment variable {hit[1]} is not set.\nSet it, or take it out here."


def _value(hit: re.Match[str], variables: Mapping[str, str]) -> str:
    return variables[hit[1]] if hit[1] else "${"
