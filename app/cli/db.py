"""`dc-relay db`: the database's schema."""

from __future__ import annotations

import click

from app.cli.starting import settings_or_exit
from app.errors import SchemaMismatch, StorageUnavailable
from app.storage import Storage, upgrade_schema
from app.storage.tables import SCHEMA_REVISION


@click.group()
def db() -> None:
    """Look after the database's schema."""


@db.command()
def upgrade() -> None:
    """Bring the schema to what this version needs.

    Safe to run twice, and by two processes at once: the second one waits and finds nothing to do.
    """
    storage = Storage(settings_or_exit().database_url, timeout=30)
    try:
        upgrade_schema(storage)
    except (SchemaMismatch, StorageUnavailable) as error:
        raise click.ClickException(str(error)) from error
    finally:
        storage.close()
    click.echo(f"The database's schema is at {SCHEMA_REVISION}.")
