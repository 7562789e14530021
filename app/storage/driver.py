"""Runs constant statements on the driver itself, within a transaction that SQLAlchemy holds.

What SQLAlchemy does around a statement costs more than the statement where a webhook waits for it.
So the few that run for every one go past it; all others do not. This module must not know what the
statements say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError


def run(connection: Connection, statement: str, parameters: Sequence[Any] = ()) -> Any:
    """Run a statement in the driver's own writing; returns its cursor.

    Parameters and results are as the driver has them. What it raises comes out as SQLAlchemy would
    raise it.
    """
    cursor = connection.connection.cursor()
    try:
        cursor.execute(statement, parameters)
    except Exception as error:
        cursor.close()
        raise _as_sqlalchemy(connection, error) from error
    return cursor


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
