"""The database as the operator's commands use it: opened, checked, and closed again.

They work beside the running service, on the same database, and need no HTTP.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from app.cli.starting import ready_schema_or_exit
from app.config import Settings
from app.errors import NoSuchRecord, StorageUnavailable, VerbRefused
from app.ledger.paging import CursorInvalid
from app.storage import Storage

_TIMEOUT = 30.0


@contextmanager
def opened(settings: Settings) -> Iterator[Storage]:
    """Open the database for the block; what cannot be done is told in one line, with exit 1."""
    try:
        storage = Storage(settings.database_url, timeout=_TIMEOUT)
    except StorageUnavailable as error:
        raise click.ClickException(str(error)) from error
    try:
        ready_schema_or_exit(storage)
        yield storage
    except (NoSuchRecord, VerbRefused) as error:
        raise click.ClickException(f"{error.detail} ({error.reason})") from error
    except CursorInvalid as error:
        raise click.UsageError("--cursor is not one that a list gave out.") from error
    except StorageUnavailable as error:
        raise click.ClickException(str(error)) from error
    finally:
        storage.close()
