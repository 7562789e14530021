"""What commands connect to, the database and Amplience, and how errors end a command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import click

from app.amplience.management import ManagementClient
from app.cli.common import SETTINGS, json_option, with_options
from app.config import Hub, Settings
from app.db import Storage, check_schema
from app.errors import (
    AppError,
    NoSuchRecord,
    RefusedRequest,
    StorageUnavailable,
    VerbRefused,
)
from app.observability import Mask
from app.operations import RequestInvalid
from app.operations.connection_errors import error_text
from app.queue.pagination import DEFAULT_LIMIT, LONGEST_PAGE, CursorInvalid

_DATABASE_TIMEOUT = 30.0

page_options = with_options(
    click.option(
        "--limit", type=click.IntRange(1, LONGEST_PAGE), default=DEFAULT_LIMIT, show_default=True
    ),
    click.option("--cursor", help="Continue a list that was not the end."),
    json_option,
)


def print_next(cursor: str | None) -> None:
    """Say how to continue the list, where there may be more."""
    if cursor:
        click.echo(f"There may be more: --cursor {cursor}")


def each_page(step: Callable[..., Any], *counted: str) -> dict[str, Any]:
    """Call `step` with the `cursor` of each page; adds up its fields `counted` and `refused`."""
    counts, refused = Counter[str](), Counter[str]()
    cursor: str | None = None
    while True:
        done = step(cursor=cursor)
        counts.update({name: getattr(done, name) for name in counted})
        refused += done.refused
        cursor = done.next
        if cursor is None:
            return {"dry_run": False, **counts, "refused": refused}


@contextmanager
def open_database(settings: Settings) -> Iterator[Storage]:
    """Open the database, which must have the current schema, for the block."""
    with closing(Storage(settings.database_url, timeout=_DATABASE_TIMEOUT)) as storage:
        try:
            check_schema(storage)
        except StorageUnavailable as error:
            # Not as in the middle of a long command, which exits with 3 and can be continued.
            raise click.ClickException(str(error)) from error
        try:
            yield storage
        except CursorInvalid as error:
            raise click.UsageError("--cursor is not one that a list printed.") from error


@contextmanager
def management_of(settings: Settings, hub: Hub) -> Iterator[ManagementClient]:
    """A client for the hub's Management API; a UsageError where it has no credentials."""
    if hub.credentials is None:
        raise click.UsageError(
            f"The hub {hub.key} has no credentials: set AMPLIENCE_CLIENT_ID and"
            f" AMPLIENCE_CLIENT_SECRET, or client_id and client_secret in [hubs.{hub.key}]."
        )
    with closing(ManagementClient(credentials=hub.credentials, hosts=settings.amplience)) as client:
        yield client


def click_error(problem: AppError, context: click.Context) -> click.ClickException:
    """The error that ends a command for `problem`: one line without secrets, exit 1 or 2."""
    if isinstance(problem, RequestInvalid):
        return click.UsageError(str(problem))
    settings = context.meta.get(SETTINGS)
    text = error_text(problem)
    if isinstance(problem, (NoSuchRecord, VerbRefused, RefusedRequest)):
        text = f"{problem.detail} ({problem.reason})"
    return click.ClickException(Mask(settings.secrets).text(text) if settings else text)
