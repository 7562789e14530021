"""Rows passed to a statement as a JSON document: bulk inserts, and lists as one parameter.

One statement for many rows, whose text is the same for any number of them. A statement costs more
than a row: besides its own work, each one releases the interpreter's lock, and a busy process then
waits to get it back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Integer,
    LargeBinary,
    Table,
    Text,
    TypeDecorator,
    bindparam,
    literal_column,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NULLTYPE

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


# SQLite takes 32,766 values in a statement, and our widest table has two dozen columns.
_MOST_ROWS = 500

Row = dict[str, Any]


def insert_rows(
    connection: Connection,
    table: Table,
    rows: Sequence[Row],
    *,
    unless_known: Sequence[str] = (),
) -> list[int | None]:
    """Insert rows that all name the same columns; returns their ids, in the order of the rows.

    With `unless_known`, the columns of a unique constraint, a row that is known by them adds
    nothing, and its id is None; so does the second of two such rows.
    """
    if not rows:
        return []
    found: list[int | None] = []
    write = _insert_sqlite if connection.dialect.name == "sqlite" else _insert_postgresql
    for start in range(0, len(rows), _MOST_ROWS):
        found += write(connection, table, rows[start : start + _MOST_ROWS], unless_known)
    return found


class among(FunctionElement[Any]):  # noqa: N801 - it is a SQL function
    """The condition that a column has one of the values of a parameter: a list of texts or numbers.

    One parameter, however many values there are, so that the statement stays the same.
    """

    # Not a boolean to SQLAlchemy: on SQLite it would compare it with 1, and no index would be used.
    type = NULLTYPE
    inherit_cache = True

    def __init__(self, column: ColumnElement[Any], parameter: str) -> None:
        super().__init__(column, bindparam(parameter, type_=_ValueList()))


class _ValueList(TypeDecorator[list[Any]]):
    impl = Text
    cache_ok = True

    def process_bind_param(self, value: list[Any] | None, _dialect: Any) -> str:
        return json.dumps(value)


@compiles(among, "sqlite")
def _among_sqlite(element: among, compiler: Any, **options: Any) -> str:
    column, values = (compiler.process(part, **options) for part in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({values}))"  # noqa: S608 - no value is in it


@compiles(among, "postgresql")
def _among_postgresql(element: among, compiler: Any, **options: Any) -> str:
    column, values = (compiler.process(part, **options) for part in element.clauses)
    kind = "bigint" if isinstance(next(iter(element.clauses)).type, Integer) else "text"
    listed = f"SELECT CAST(json_array_elements_text(CAST({values} AS json)) AS {kind})"
    return f"{column} = ANY (ARRAY({listed}))"


class document_text(FunctionElement[str]):  # noqa: N801 - it is a SQL function
    """A text of a JSON column by its name; NULL where there is none, or where there is no JSON."""

    type = Text()
    inherit_cache = True

    def __init__(self, column: ColumnElement[Any], name: str) -> None:
        super().__init__(column, literal_column(f"'{name}'"))


@compiles(document_text, "sqlite")
def _document_text_sqlite(element: document_text, compiler: Any, **options: Any) -> str:
    column, name = (compiler.process(part, **options) for part in element.clauses)
    return f"CASE WHEN json_valid({column}) THEN json_extract({column}, '$.' || {name}) END"


@compiles(document_text, "postgresql")
def _document_text_postgresql(element: document_text, compiler: Any, **options: Any) -> str:
    column, name = (compiler.process(part, **options) for part in element.clauses)
    return f"({column} ->> {name})"


def _insert_sqlite(
    connection: Connection, table: Table, rows: Sequence[Row], unless_known: Sequence[str]
) -> list[int | None]:
    names = tuple(rows[0])
    # Under the write lock nobody else gives out an id: this is what SQLite itself would do.
    ((last,),) = run(connection, f"SELECT coalesce(max(id), 0) FROM {table.name}")  # noqa: S608 - our own name
    first = last + 1
    documents = _documents(table, names)
    values: list[Any] = []
    for number, row in enumerate(rows, start=first):
        values.append(number)
        values += {**row, **{name: json.dumps(row[name]) for name in documents}}.values()
    statement = _sqlite_statement(table.name, names, len(rows), ignoring=bool(unless_known))
    written = run(connection, statement, values).rowcount
    ids: list[int | None] = list(range(first, first + len(rows)))
    if written == len(rows):
        return ids
    new = run(connection, f"SELECT id FROM {table.name} WHERE id >= ?", [first])  # noqa: S608 - our own name
    kept = {row[0] for row in new}
    return [number if number in kept else None for number in ids]


def _insert_postgresql(
    connection: Connection, table: Table, rows: Sequence[Row], unless_known: Sequence[str]
) -> list[int | None]:
    names = tuple(rows[0])
    binary = [name for name in names if _is_binary(table, name)]
    plain = [{name: row[name] for name in names if name not in binary} for row in rows]
    parameters = [json.dumps(plain), *([row[name] for row in rows] for name in binary)]
    statement = _postgresql_statement(table, names, tuple(unless_known))
    written = run(connection, statement, parameters).fetchall()
    if not unless_known:
        # The rows are given their ids in the order in which they are selected.
        return sorted(row[0] for row in written)
    new = {tuple(row[1:]): int(row[0]) for row in written}
    return [new.pop(tuple(row[name] for name in unless_known), None) for row in rows]


@lru_cache(maxsize=64)
def _documents(table: Table, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if isinstance(table.c[name].type, JSON)]


def _is_binary(table: Table, name: str) -> bool:
    return isinstance(table.c[name].type, LargeBinary)


@lru_cache(maxsize=256)
def _sqlite_statement(table: str, names: tuple[str, ...], rows: int, *, ignoring: bool) -> str:
    columns = listed(["id", *names])
    places = f"({', '.join('?' * (len(names) + 1))})"
    end = " ON CONFLICT DO NOTHING" if ignoring else ""
    return f"INSERT INTO {table} ({columns}) VALUES {', '.join([places] * rows)}{end}"  # noqa: S608 - our own names


@lru_cache(maxsize=64)
def _postgresql_statement(
    table: Table, names: tuple[str, ...], unless_known: tuple[str, ...]
) -> str:
    """One JSON document for all rows, which is faster than arrays; bytes go beside it."""
    binary = [name for name in names if _is_binary(table, name)]
    plain = [name for name in names if name not in binary]
    functions = [f"json_to_recordset(%s::json) AS ({kinds(table, plain)})"]
    functions += ["unnest(%b::bytea[])"] * len(binary)
    columns = listed([*plain, *binary])
    end = " ON CONFLICT DO NOTHING" if unless_known else ""
    return (
        f"INSERT INTO {table.name} ({columns}) SELECT {columns}"  # noqa: S608 - our own names
        f" FROM ROWS FROM ({', '.join(functions)}) WITH ORDINALITY AS given({columns}, row_number)"
        f" ORDER BY row_number{end} RETURNING {listed(['id', *unless_known])}"
    )


def kinds(table: Table, names: Sequence[str]) -> str:
    """The columns with their types, as PostgreSQL wants them to be said of a JSON document."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    return ", ".join(f'"{name}" {table.c[name].type.compile(dialect)}' for name in names)


def listed(names: Sequence[str], of: str = "") -> str:
    """The names as SQL has them in a list, each as a column `of` a table if that is named."""
    return ", ".join(f'{of}."{name}"' if of else f'"{name}"' for name in names)
