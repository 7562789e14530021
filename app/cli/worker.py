"""`dc-relay worker`: one worker process. `dc-relay db`: the database's schema."""

from __future__ import annotations

import logging
import os
import signal
import sys
from contextlib import closing
from types import FrameType

import click

from app import __version__
from app.bootstrap import build_worker
from app.cli.common import settings_or_exit, start_observing
from app.db import Storage, check_schema, upgrade_schema
from app.db.tables import SCHEMA_REVISION
from app.observability import tracing

_UPGRADE_TIMEOUT = 30.0


@click.command()
def worker() -> None:
    """Run a worker: it does the jobs. Any number may run on one PostgreSQL database.

    On SIGTERM it takes no new job, lets the running attempts finish for up to 25 seconds and gives
    back what is left, which another worker starts at once.
    """
    settings = settings_or_exit()
    start_observing(settings)
    tracing.configure(settings.traces_endpoint, __version__, secrets=settings.secrets)
    built = build_worker(settings)
    check_schema(built.storage)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        built.worker.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    built.worker.run()
    built.close()
    tracing.close()
    # A thread that hangs in a call would keep the process for as long as the call lasts, and its
    # job has been given back already.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


@click.group()
def db() -> None:
    """Look after the database's schema."""


@db.command()
def upgrade() -> None:
    """Bring the schema to what this version needs.

    Safe to run twice, and by two processes at once: the second one waits and finds nothing to do.
    """
    settings = settings_or_exit()
    with closing(Storage(settings.database_url, timeout=_UPGRADE_TIMEOUT)) as storage:
        upgrade_schema(storage)
    click.echo(f"The database's schema is at {SCHEMA_REVISION}.")
