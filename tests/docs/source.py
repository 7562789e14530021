"""What the code says of itself, read from its syntax: reason slugs, log events, endpoints."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.docs.pages import ROOT

_SLUG = re.compile(r"[a-z]+(-[a-z][a-z0-9]*)+")
_WORD = re.compile(r"[a-z]+(-[a-z][a-z0-9]*)*")
_OUTCOMES = ("Skipped", "LookAgain", "Failed")
_EVENT = re.compile(r"[a-z]+([.-]([a-z]+|\{\}))*")


def modules(*places: str) -> list[Path]:
    """The modules at these places, which are files or folders below the project's folder."""
    found: list[Path] = []
    for place in places:
        path = ROOT / place
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return found


@cache
def tree(module: Path) -> ast.Module:
    """A module's syntax."""
    return ast.parse(module.read_text(encoding="utf-8"))


def dashed(*places: str) -> set[str]:
    """Every text of these modules that is two words or more with dashes between them."""
    return {found for module in modules(*places) for found in _texts(tree(module), _SLUG)}


def given_as_reason(*places: str) -> set[str]:
    """Every word of these modules that is given as a reason, whatever decides which.

    That is as `reason=`, or as the first argument of an outcome.
    """
    return {
        found
        for module in modules(*places)
        for node in ast.walk(tree(module))
        for value in _reasons(node)
        for found in _texts(value, _WORD)
    }


def _reasons(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.keyword) and node.arg == "reason":
        return _choices(node.value)
    if isinstance(node, ast.Call) and ast.unparse(node.func) in _OUTCOMES:
        return [choice for argument in node.args[:1] for choice in _choices(argument)]
    return []


def _choices(node: ast.expr) -> list[ast.expr]:
    """What an expression may come to, without the question that decides it."""
    return [node.body, node.orelse] if isinstance(node, ast.IfExp) else [node]


def log_events() -> set[str]:
    """The names that the service logs under, with `{}` for what varies."""
    found: set[str] = set()
    for module in modules("app"):
        if "sandbox" in module.parts:
            continue
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("_log."):
                texts = [_as_text(text) for each in node.args for text in _outermost_texts(each)]
                names = {text for text in texts if _EVENT.fullmatch(text)}
                assert names, f"{module.name}:{node.lineno} logs an event that is no constant"
                found |= names
    return found


def endpoints(*places: str) -> set[str]:
    """The paths that these modules call, with `{}` for what varies."""
    found: set[str] = set()
    for module in modules(*places):
        for node in _outermost_texts(tree(module)):
            path = _as_text(node)
            if re.fullmatch(r"/[a-z-]+(/[\w{}-]+)*", path) and path != "/":
                found.add(path)
    return found


def _texts(node: ast.AST, form: re.Pattern[str]) -> Iterator[str]:
    for each in ast.walk(node):
        value = each.value if isinstance(each, ast.Constant) else None
        if isinstance(value, str) and form.fullmatch(value):
            yield value


def _outermost_texts(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Constant | ast.JoinedStr):
        yield node
        return
    for child in ast.iter_child_nodes(node):
        yield from _outermost_texts(child)


def _as_text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    assert isinstance(node, ast.JoinedStr)
    return "".join(
        _as_text(part) if isinstance(part, ast.Constant) else "{}" for part in node.values
    )
