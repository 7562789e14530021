"""The TOML file: its text becomes a document in which `"${NAME}"` is replaced by a variable."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.config.problems import Fault, quoted
from app.config.problems import Path as SettingPath

_REFERENCE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$\{")


class UnreadableFile(Exception):
    """The file is not there or is not TOML; the text says what to do."""


@dataclass
class Substituted:
    """A document with the variables put in; `used` names them. A text with a fault is unchanged.

    `rule_labels` has each rule's name where no other has it and no variable is in it, else its
    number.
    """

    document: dict[str, Any] = field(default_factory=dict)
    rule_labels: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)


def read_file(path: Path, *, required: bool) -> dict[str, Any]:
    """Parse the file at `path`; a missing file is an empty one unless it is `required`."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        if not required:
            return {}
        text = "There is no such file.\nCorrect RELAY_CONFIG or unset it."
    except OSError as error:
        text = f"The file cannot be read: {error.strerror}.\nLet the service read it."
    except UnicodeDecodeError:
        text = "The file is not UTF-8.\nSave it as UTF-8."
    except tomllib.TOMLDecodeError as error:
        text = f"The file is not TOML: {error}.\nCorrect it there; see https://toml.io."
    raise UnreadableFile(text)


def substitute(written: Mapping[str, Any], variables: Mapping[str, str]) -> Substituted:
    """A copy of `written` with the variables put in, and a fault for each that is not set.

    Only values are replaced, never keys, and what a variable holds is not looked at again. `$${`
    stands for `${` itself.
    """
    result = Substituted()
    result.document = _replaced(written, variables, (), result)
    rules = written.get("rules")
    result.rule_labels = _rule_labels(rules) if isinstance(rules, list) else []
    return result


def _rule_labels(rules: Iterable[Any]) -> list[str]:
    names = [rule.get("name") if isinstance(rule, dict) else None for rule in rules]
    return [
        quoted(name)
        if isinstance(name, str) and name.strip() and "${" not in name and names.count(name) == 1
        else str(at)
        for at, name in enumerate(names)
    ]


def _replaced(
    value: Any, variables: Mapping[str, str], path: SettingPath, result: Substituted
) -> Any:
    if isinstance(value, dict):
        return {
            key: _replaced(each, variables, (*path, key), result) for key, each in value.items()
        }
    if isinstance(value, list):
        return [_replaced(each, variables, (*path, at), result) for at, each in enumerate(value)]
    if not isinstance(value, str):
        return value
    faults = [Fault(path, text) for text in _faults(value, variables)]
    result.faults += faults
    result.used |= {hit[1] for hit in _REFERENCE.finditer(value) if hit[1]}
    if faults:
        return value
    return _REFERENCE.sub(lambda hit: variables[hit[1]] if hit[1] else "${", value)


def _faults(text: str, variables: Mapping[str, str]) -> Iterator[str]:
    for hit in _REFERENCE.finditer(text):
        if hit[0] == "${":
            yield 'This is not a reference.\nWrite "${NAME}", or "$${" for the signs.'
        elif hit[1] and hit[1] not in variables:
            yield f"The environment variable {hit[1]} is not set.\nSet it, or take it out here."
