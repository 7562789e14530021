"""JSON without its traps: what cannot be kept, compared or searched safely is refused by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NoReturn

from app.errors import WebhookRejected

# Real content nests a dozen levels. 100 is also where the JSONPath library stops to descend, so no
# condition of a rule can fail on depth once a body is in.
MAX_DEPTH = 100

_INFINITE = float("inf")


def parse(body: bytes) -> Any:
    """The JSON value in `body`; raises `WebhookRejected` (400).

    Refused besides what is not JSON (RFC 8259): bytes that are not UTF-8, more than `MAX_DEPTH`
    levels, names that occur twice in an object (two readers would see two different events), NaN,
    infinity and numbers that overflow, and integers too long for Python to read.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _rejected(
            "body-not-utf8", f"The body is not UTF-8: see byte {error.start}."
        ) from error
    try:
        value = _DECODER.decode(text)
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:  # JSONDecodeError, and integers over Python's limit of digits
        raise _rejected("body-not-json", _explained(error)) from error
    if _may_be_deep(body):
        _check_depth(value)
    return value


def _may_be_deep(body: bytes) -> bool:
    """Whether enough brackets are opened; to find some is much faster than to count all."""
    left = MAX_DEPTH
    for bracket in b"{[":
        at = body.find(bracket)
        while at >= 0:
            if left == 0:
                return True
            left -= 1
            at = body.find(bracket, at + 1)
    return False


def _explained(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        # Only where, never a piece of the text: the body may hold what must not be in a log.
        return f"The body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})."
    return "The body holds an integer with too many digits."


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _rejected("body-not-json", "An object in the body has the same name twice.")
    return found


def _constant(_: str) -> NoReturn:
    raise _rejected("body-not-json", "NaN and Infinity are not JSON.")


def _finite(text: str) -> float:
    number = float(text)
    if abs(number) == _INFINITE:
        raise _rejected("body-not-json", "The body holds a number that is too large.")
    return number


# Made once: it costs as much as reading a small body.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_distinct, parse_constant=_constant, parse_float=_finite
)


def _check_depth(value: Any) -> None:
    """Level by level rather than by recursion: recursion is what a deep body would break."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for parent in level for child in _containers(parent)]
        if not level:
            return
    raise _too_deep()


def _containers(value: Any) -> Iterator[Any]:
    children = value.values() if isinstance(value, dict) else value
    if isinstance(value, (dict, list)):
        yield from (child for child in children if isinstance(child, (dict, list)))


def _too_deep() -> WebhookRejected:
    return _rejected("body-too-deep", f"The body nests more than {MAX_DEPTH} levels.")


def _rejected(reason: str, detail: str) -> WebhookRejected:
    return WebhookRejected(status=400, reason=reason, detail=detail)
