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

from app.db.driver import run
from app.db.tables import now_ms
from app.events import storable


def execute_given(connection: Connection, statement: str, rows: Sequence[Mapping[str, Any]]) -> Any:
    """Execute a statement for the database's dialect that has `given(...)` in it once."""
    document = _document(rows)
    if "\\u0000" in document or not _is_encodable(document):
        # Whatever a peer answers must not keep its job from coming to an end.
        document = _document(storable(rows))
    return run(connection, statement, (document,))


def _document(rows: Sequence[Any]) -> str:
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":"))


def _is_encodable(document: str) -> bool:
    try:
        document.encode()
    except UnicodeEncodeError:
        return False
    return True


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
