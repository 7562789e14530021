"""From what marshmallow (or a check of ours) found to the `ConfigProblem`s that an operator reads.

A finding's text is the fault on its first line and what to write instead on its second; the text
never holds a value, because any value may be a secret. This module must not know what is checked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from marshmallow.exceptions import SCHEMA

from app.errors import ConfigProblem

Path = tuple[str | int, ...]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

# marshmallow's own words, for those who do not know marshmallow.
_PLAIN = {
    "Missing data for required field.": "This setting is required.\nAdd it.",
    "Field may not be null.": "This setting is empty.\nGive it a value or leave it out.",
    "Not a valid string.": "This is not a text.\nWrite it in quotes.",
    "Not a valid boolean.": "This is neither yes nor no.\nWrite true or false.",
    "Not a valid integer.": "This is not a whole number.\nWrite digits only.",
    "Not a valid number.": "This is not a number.\nWrite a number such as 0.2.",
    "Not a valid list.": 'This is not a list.\nWrite it as [ "…", "…" ].',
    "Not a valid mapping type.": "This is not a table.\nWrite names and values: { name = … }.",
    "Invalid input type.": "This is not a table.\nWrite settings below a heading in [brackets].",
}


@dataclass(frozen=True)
class Finding:
    """One fault, `path` deep in the file, or a variable's name alone when not `in_file`."""

    path: Path
    text: str
    in_file: bool = True


def flatten(messages: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """The leaves of marshmallow's nested messages, each with the path to it."""
    if isinstance(messages, Mapping):
        for key, below in messages.items():
            yield from flatten(below, path if key == SCHEMA else (*path, key))
    elif isinstance(messages, list):
        for below in messages:
            yield from flatten(below, path)
    else:
        yield path, str(messages)


def as_problems(
    found: Iterable[Finding], *, file: str, rule_names: list[str | None]
) -> list[ConfigProblem]:
    """What the operator reads, sorted, each fault once."""
    problems = {_as_problem(each, file=file, rule_names=rule_names) for each in found}
    return sorted(problems, key=lambda problem: (problem.place, problem.message, problem.advice))


def _as_problem(found: Finding, *, file: str, rule_names: list[str | None]) -> ConfigProblem:
    message, _, advice = _PLAIN.get(found.text, found.text).partition("\n")
    if not found.in_file:
        return ConfigProblem(place=str(found.path[0]), message=message, advice=advice)
    inside = render_path(found.path, rule_names)
    place = f"{file}: {inside}" if inside else file
    return ConfigProblem(place=place, message=message, advice=advice)


def render_path(path: Path, rule_names: list[str | None]) -> str:
    """`rules["index articles"].to[0]`: a rule by its name where it has one of its own."""
    text = ""
    for depth, step in enumerate(path):
        if isinstance(step, int):
            name = rule_names[step] if depth == 1 and path[0] == "rules" else None
            text += f"[{step if name is None else json.dumps(name, ensure_ascii=False)}]"
        else:
            key = step if _BARE_KEY.fullmatch(step) else json.dumps(step, ensure_ascii=False)
            text += f".{key}" if text else key
    return text
