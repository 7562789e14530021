"""Configuration faults: a path into the document and a text, rendered for the operator.

The first line of a text says what is wrong, the second what to write instead. No text holds a
value, because any value may be a secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from marshmallow.exceptions import SCHEMA

from app.errors import ConfigProblem

Path = tuple[str | int, ...]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

# marshmallow's messages, in words for people who do not know marshmallow.
_PLAIN = {
    "Missing data for required field.": "This setting is required.\nAdd it.",
    "Field may not be null.": "This setting is empty.\nGive it a value or leave it out.",
    "Not a valid string.": "This is not a text.\nWrite it in quotes.",
    "Not a valid boolean.": (
        "This is neither yes nor no.\nWrite true or false; in a variable also 1 or 0."
    ),
    "Not a valid integer.": "This is not a whole number.\nWrite digits only.",
    "Not a valid number.": "This is not a number.\nWrite a number such as 0.2.",
    "Not a valid list.": 'This is not a list.\nWrite it as [ "…", "…" ].',
    "Not a valid mapping type.": "This is not a table.\nWrite names and values: { name = … }.",
    "Invalid input type.": "This is not a table.\nWrite settings below a heading in [brackets].",
}


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, at a path into the document."""

    path: Path
    text: str


def flatten(messages: Any, path: Path = ()) -> Iterator[Fault]:
    """The leaves of marshmallow's nested messages, each with the path to it."""
    if isinstance(messages, Mapping):
        for key, below in messages.items():
            yield from flatten(below, path if key == SCHEMA else (*path, key))
    elif isinstance(messages, list):
        for below in messages:
            yield from flatten(below, path)
    else:
        yield Fault(path, _PLAIN.get(str(messages), str(messages)))


@dataclass(frozen=True)
class Places:
    """Where the parts of the document come from: `file`, or a variable.

    `variables` names the variable of a path; it holds for everything below the path too.
    `rule_labels` has what stands in the brackets of `rules[…]`, for each rule of the document.
    """

    file: str
    variables: Mapping[Path, str] = field(default_factory=dict)
    rule_labels: Sequence[str] = ()

    def place(self, path: Path) -> str:
        """The variable, or the setting in the file: `relay.toml: rules["index articles"].to[0]`."""
        for end in range(len(path), 0, -1):
            if variable := self.variables.get(path[:end]):
                return variable
        inside = self._rendered(path)
        return f"{self.file}: {inside}" if inside else self.file

    def _rendered(self, path: Path) -> str:
        text = ""
        for depth, step in enumerate(path):
            if isinstance(step, int):
                rule = depth == 1 and path[0] == "rules"
                text += f"[{self.rule_labels[step] if rule else step}]"
            else:
                key = step if _BARE_KEY.fullmatch(step) else quoted(step)
                text += f".{key}" if text else key
        return text


def quoted(text: str) -> str:
    """A text of the file as it may stand in a place."""
    return json.dumps(text, ensure_ascii=False)


def as_problems(faults: Iterable[Fault], places: Places) -> list[ConfigProblem]:
    """What the operator reads: sorted, each fault once."""
    problems = {_as_problem(each, places) for each in faults}
    return sorted(problems, key=lambda problem: (problem.place, problem.message, problem.advice))


def _as_problem(fault: Fault, places: Places) -> ConfigProblem:
    message, _, advice = fault.text.partition("\n")
    return ConfigProblem(place=places.place(fault.path), message=message, advice=advice)
