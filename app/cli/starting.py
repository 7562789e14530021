"""What every command that does real work starts with: settings, logs, error reports, database."""

from __future__ import annotations

import os
import sys

import click

from app import __version__
from app.config import Settings, load_settings
from app.errors import ConfigError, SchemaMismatch, StorageUnavailable
from app.observability import configure_logging, configure_sentry
from app.storage import Storage, check_schema

FAULTY_CONFIGURATION = 2


def settings_or_exit() -> Settings:
    """Load the settings; on faults, print every one and exit with 2."""
    try:
        return load_settings(os.environ)
    except ConfigError as error:
        click.echo("The configuration cannot be used:", err=True)
        for problem in error.problems:
            click.echo(f"  {problem}", err=True)
        sys.exit(FAULTY_CONFIGURATION)


def start_observing(settings: Settings) -> None:
    """Set up logs and error reports as the settings say."""
    configure_logging(settings.log_level, settings.log_format, secrets=settings.secrets)
    configure_sentry(
        settings.sentry_dsn,
        settings.sentry_environment,
        f"dc-relay@{__version__}",
        secrets=settings.secrets,
    )


def ready_schema_or_exit(storage: Storage) -> None:
    """Exit with 1 and say why unless the database is there and its schema is ours."""
    try:
        check_schema(storage)
    except (SchemaMismatch, StorageUnavailable) as error:
        raise click.ClickException(str(error)) from error
