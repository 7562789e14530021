"""`dc-relay worker`: one worker process, until SIGTERM or SIGINT."""

from __future__ import annotations

import logging
import os
import signal
import sys
from types import FrameType

import click

from app import __version__
from app.bootstrap import build_worker
from app.cli.starting import ready_schema_or_exit, settings_or_exit, start_observing
from app.observability import tracing


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
    ready_schema_or_exit(built.storage)

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
