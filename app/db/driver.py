"""Runs constant statements on the driver itself, within a transaction that SQLAlchemy holds.

What SQLAlchemy does around a statement costs more than the statement where a webhook waits for it.
So the few that run for every one go past it; all others do not.
"""

from __future__ import annotations

import json
from collections import namedtuple
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Select, UpdateBase
from sqlalchemy.exc import DBAPIError


def run(
    connection: Connection, statement: str, parameters: Sequence[Any] | Mapping[str, Any] = ()
) -> Any:
    """Run a statement in the driver's own writing; returns its cursor.

    Parameters and results are as the driver has them. What it raises comes out as SQLAlchemy would
    raise it. It opens no transaction: where only this is used on SQLite, within `Storage.read`,
    each statement reads what is there at its own moment.
    """
    cursor = connection.connection.cursor()
    try:
        cursor.execute(statement, parameters)
    except Exception as error:
        cursor.close()
        raise _as_sqlalchemy(connection, error) from error
    return cursor


class Constant:
    """A statement of SQLAlchemy that never changes: written once for each database, then only run.

    Values are given by the names of its parameters; lists go as JSON. Rows have their columns as
    the driver has them, which on SQLite leaves JSON a text.
    """

    def __init__(self, statement: Select[Any] | UpdateBase) -> None:
        self._statement = statement
        self._written: dict[str, _Written] = {}

    def run(self, connection: Connection, **values: Any) -> Any:
        """Run it; returns the driver's cursor."""
        written = self._for(connection)
        given = {**written.values, **{name: _plain(value) for name, value in values.items()}}
        if written.order is None:
            return run(connection, written.text, given)
        return run(connection, written.text, [given[name] for name in written.order])

    def rows(self, connection: Connection, **values: Any) -> list[Any]:
        """Run it; returns its rows, whose columns have their names."""
        cursor = self.run(connection, **values)
        make = _row(tuple(column[0] for column in cursor.description))._make
        return [make(row) for row in cursor]

    def _for(self, connection: Connection) -> _Written:
        dialect = connection.dialect
        if dialect.name not in self._written:
            compiled = self._statement.compile(dialect=dialect)
            self._written[dialect.name] = _Written(
                text=str(compiled),
                values=compiled.params,
                order=getattr(compiled, "positiontup", None),
            )
        return self._written[dialect.name]


@dataclass(frozen=True)
class _Written:
    """A statement in the driver's writing; `order` where its parameters have no names."""

    text: str
    values: Mapping[str, Any]
    order: Sequence[str] | None


@lru_cache(maxsize=64)
def _row(names: tuple[str, ...]) -> Any:
    return namedtuple("row", names)


def read_document(value: Any) -> Any:
    """What a column of JSON holds, as a driver gives it: a text, or what it has read itself.

    None for a text that is no JSON.
    """
    return read_json(value) if isinstance(value, str) else value


def read_json(text: str | bytes) -> Any:
    """Read a stored JSON text; None for what is no JSON, so that no row can break a whole list."""
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None


def read_text(value: Any) -> str:
    """What a column of text holds, for a list: SQLite keeps bytes where it is given them."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _plain(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list) else value


def _as_sqlalchemy(connection: Connection, error: Exception) -> BaseException:
    dialect = connection.dialect
    driver = dialect.loaded_dbapi
    if not isinstance(error, driver.Error):
        return error
    lost = dialect.is_disconnect(error, None, None)
    if lost:
        connection.invalidate(error)
    # Neither statement nor values: an event may hold what must not be in a log.
    return DBAPIError.instance(
        None, None, error, driver.Error, connection_invalidated=lost, dialect=dialect
    )
