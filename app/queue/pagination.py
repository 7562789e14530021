"""Lists that are read page by page, newest first, at a bounded cost per page.

A page ends at an id, not at a count of rows, so what comes in meanwhile moves nothing.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Column, Connection, RowMapping, Select, func, select

DEFAULT_LIMIT = 50
LONGEST_PAGE = 200
# What no index finds is looked for in this many rows at a time, and so many times for one page.
_WINDOW = 5_000
_WINDOWS = 20
LONGEST_LOOK = _WINDOW * _WINDOWS

_Row = TypeVar("_Row")


@dataclass(frozen=True)
class Page(Generic[_Row]):
    """Some rows, newest first. `next` is where the following page begins; None at the end.

    A page may have fewer rows than were asked for, even none, and still be followed by another
    one: a search that no index helps gives up its page after 100,000 rows.
    """

    rows: tuple[_Row, ...]
    next: str | None = None


class CursorInvalid(ValueError):
    """A cursor that no page of ours gave out."""


def encode_cursor(identifier: int) -> str:
    """Write the place after `identifier` as an opaque text for URLs."""
    return base64.urlsafe_b64encode(str(identifier).encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None) -> int | None:
    """Read a cursor; raises `CursorInvalid`."""
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        identifier = int(text.decode("ascii"))
    except (binascii.Error, ValueError) as error:
        raise CursorInvalid("this is no cursor of a page") from error
    if not 0 < identifier < 1 << 63 or encode_cursor(identifier) != cursor:
        raise CursorInvalid("this is no cursor of a page")
    return identifier


@dataclass(frozen=True)
class Walk:
    """Where a list is read from: ids below `before`, at most `limit` rows.

    `indexed` says that an index leads to the rows; without one they are looked for window by
    window. `floor` is an id below which there is nothing to find. `lead` finds, where it is given,
    the ids of a page by themselves: so many below `before`, newest first.
    """

    identifier: Column[int]
    before: int | None
    limit: int
    indexed: bool
    floor: int = 0
    lead: Callable[[int | None, int], Sequence[int]] | None = None


def read_page(
    connection: Connection, statement: Select[Any], walk: Walk
) -> tuple[Sequence[RowMapping], str | None]:
    """Read one page of `statement`, which has no order of its own, and the next page's cursor."""
    if walk.lead:
        identifiers = walk.lead(walk.before, walk.limit + 1)
        found = statement.where(walk.identifier.in_(identifiers))
        return _cut(_rows(connection, found, walk, walk.limit + 1), walk)
    if walk.indexed:
        rows = _rows(connection, statement, walk, walk.limit + 1)
        return _cut(rows, walk)
    return _read_windows(connection, statement, walk)


def _read_windows(
    connection: Connection, statement: Select[Any], walk: Walk
) -> tuple[Sequence[RowMapping], str | None]:
    oldest, newest = connection.execute(
        select(
            select(func.min(walk.identifier)).scalar_subquery(),
            select(func.max(walk.identifier)).scalar_subquery(),
        )
    ).one()
    if newest is None:
        return [], None
    end = max(oldest, walk.floor)
    before = min(newest + 1, walk.before or newest + 1)
    found: list[RowMapping] = []
    for _ in range(_WINDOWS):
        low = before - _WINDOW
        window = statement.where(walk.identifier < before, walk.identifier >= low)
        found += _rows(connection, window, walk, walk.limit + 1 - len(found))
        if len(found) > walk.limit:
            return _cut(found, walk)
        before = low
        if before <= end:
            return found, None
    return found, encode_cursor(before)


def _rows(
    connection: Connection, statement: Select[Any], walk: Walk, limit: int
) -> list[RowMapping]:
    if walk.before is not None:
        statement = statement.where(walk.identifier < walk.before)
    ordered = statement.order_by(walk.identifier.desc()).limit(limit)
    return list(connection.execute(ordered).mappings())


def _cut(rows: Sequence[RowMapping], walk: Walk) -> tuple[Sequence[RowMapping], str | None]:
    if len(rows) <= walk.limit:
        return rows, None
    kept = rows[: walk.limit]
    return kept, encode_cursor(kept[-1][walk.identifier])
