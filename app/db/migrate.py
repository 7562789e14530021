"""Migrations of the database's schema, and the check of its revision.

Migrations live in `app/migrations` and are run by Alembic.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from app.db.engine import Storage
from app.db.tables import SCHEMA_REVISION
from app.errors import SchemaMismatch

_MIGRATIONS = Path(__file__).parent.parent / "migrations"
# Any number will do, as long as nobody else uses it: "dc-relay" read as a short number.
_ADVISORY_LOCK = 0x6463_7265


def current_revision(storage: Storage) -> str | None:
    """Read the schema's revision; None for a database without our tables."""
    with storage.read() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def check_schema(storage: Storage) -> None:
    """Raise `SchemaMismatch`, saying what to run, unless the schema is the one this code knows."""
    found = current_revision(storage)
    if found == SCHEMA_REVISION:
        return
    if found is None or found < SCHEMA_REVISION:
        raise SchemaMismatch(
            f"the database's schema is {'missing' if found is None else f'older ({found})'}; "
            f"this version needs {SCHEMA_REVISION}: run `dc-relay db upgrade`"
        )
    raise SchemaMismatch(
        f"the database's schema ({found}) is newer than this version knows ({SCHEMA_REVISION}): "
        "run the newer dc-relay, or restore the database from before its upgrade"
    )


def upgrade_schema(storage: Storage) -> None:
    """Run the migrations that are missing. Safe to run twice, and by two processes at once.

    Raises `SchemaMismatch` when the database is newer than this code.
    """
    found = current_revision(storage)
    if found == SCHEMA_REVISION:
        return
    if found is not None and found > SCHEMA_REVISION:
        check_schema(storage)
    # Alembic takes 0.2 s to import, and nothing else needs it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["configure_logger"] = False
    with _exclusive(storage) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextmanager
def _exclusive(storage: Storage) -> Iterator[Connection]:
    with storage.write() as connection:
        if not storage.is_sqlite:
            # Here, because with a file there is no driver to be loaded.
            from app.db.postgresql import wait_for_ever  # noqa: PLC0415

            # A migration may take longer than any statement of the service.
            wait_for_ever(connection.connection.driver_connection)
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        yield connection
