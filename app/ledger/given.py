"""Rows that are handed to a statement as one JSON document, which it reads like a table.

So what many jobs have to write is one statement, the same for any number of them. This module must
not know what the rows mean.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from app.storage.driver import run
from app.storage.tables import now_ms


def execute_given(connection: Connection, statement: str, rows: Sequence[Mapping[str, Any]]) -> Any:
    """Execute a statement for the database's dialect that has `given(...)` in it once."""
    document = _document(rows)
    if "\\u0000" in document:
        # Whatever a destination answers must not keep its job from coming to an end.
        document = _document([_without_nul(row) for row in rows])
    return run(connection, statement, (document,))


def _document(rows: Sequence[Any]) -> str:
    # As it is: a text that is no text (half of a surrogate pair) is refused, and not stored as one.
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":"))


def _without_nul(value: Any) -> Any:
    """Put the sign for an unreadable character in its place: PostgreSQL refuses it in a text."""
    if isinstance(value, str):
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}")
    if isinstance(value, Mapping):
        return {_without_nul(name): _without_nul(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nul(item) for item in value]
    return value


def given(dialect: str, columns: str) -> str:
    """The rows as a table called `given`; `columns` are names with their types in PostgreSQL."""
    if dialect == "sqlite":
        names = [column.split()[0] for column in columns.split(",")]
        read = ", ".join(f"json_extract(value, '$.{name}') AS {name}" for name in names)
        return f"(SELECT {read} FROM json_each(?)) AS given"  # noqa: S608 - our own names

    return f"json_to_recordset(%s::json) AS given({columns})"


@lru_cache(maxsize=2)
def clock(dialect: str) -> str:
    """The database's clock, for a statement that is text."""
    speaks = sqlite.dialect() if dialect == "sqlite" else postgresql.dialect()  # type: ignore[no-untyped-call]
    return str(now_ms().compile(dialect=speaks))
