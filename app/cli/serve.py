"""`dc-relay serve`: the web and a worker as two processes under one parent.

The parent only watches: a child that ends by itself is started again, and a signal to the parent
reaches both.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import closing
from functools import partial
from types import FrameType

import click
import structlog

from app.cli.common import settings_or_exit, start_observing
from app.db import Storage, check_schema, upgrade_schema
from app.db.migrate import current_revision

_log = structlog.get_logger(__name__)

# Longer than a worker's own grace, shorter than the 30 s after which a platform kills.
_STOP_WITHIN = 28.0
# A child that ends this often within a minute will not stay up: the platform should know.
_MOST_RESTARTS = 5

_WEB = (
    sys.executable,
    "-m",
    "app.web",
    "-c",
    "python:app.web.gunicorn_config",
    "app.web.wsgi:app",
)
_WORKER = (sys.executable, "-m", "app", "worker")

# What prctl(2) calls "send me this signal when my parent ends".
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def _end_with_parent(parent: int, number: int) -> None:
    """Have Linux send this process a signal when the parent ends, also when it is killed.

    Runs in the child before its program: a parent that is killed with -9 cannot stop its
    children. On other systems than Linux they outlive such a parent.
    """
    if _LIBC is None:
        return
    _LIBC.prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # it ended before it could be watched
        os._exit(0)


class Child:
    """One child process, started again when it ends by itself.

    `orphaned` is the signal that it gets when its parent is gone.
    """

    def __init__(self, name: str, command: tuple[str, ...], *, orphaned: int) -> None:
        self.name = name
        self._command = command
        self._orphaned = orphaned
        self._ends: deque[float] = deque(maxlen=_MOST_RESTARTS)
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C in a terminal reaches the parent, which stops both in order.
        process = subprocess.Popen(  # noqa: S603 - ours
            self._command,
            start_new_session=True,
            # The parent has no other thread that could hold a lock over the fork.
            preexec_fn=partial(_end_with_parent, os.getpid(), self._orphaned),  # noqa: PLW1509
        )
        _log.info("child.started", child=self.name, pid=process.pid)
        return process

    def revive(self) -> bool:
        """Start the child again if it has ended; False when it ended too often."""
        status = self._process.poll()
        if status is None:
            return True
        now = time.monotonic()
        self._ends.append(now)
        _log.error("child.ended", child=self.name, status=status)
        if len(self._ends) == _MOST_RESTARTS and now - self._ends[0] < 60:
            return False
        self._process = self._start()
        return True

    def terminate(self) -> None:
        """Ask the child to end."""
        if self._process.poll() is None:
            self._process.terminate()

    def wait(self, deadline: float) -> None:
        """Wait until the child has ended; kill it at the deadline."""
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            _log.error("child.killed", child=self.name)
            self._process.kill()
            self._process.wait()


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on; default: PORT.")
def serve(port: int | None) -> None:
    """Run the web and the worker together, under one parent.

    On a new database the tables are made first; an older schema needs `dc-relay db upgrade`.
    """
    settings = settings_or_exit()
    start_observing(settings)
    if port:
        os.environ["PORT"] = str(port)
    _prepare_database(settings.database_url)
    if not _supervise():
        raise click.ClickException("a child process does not stay up; its log says why")


def _supervise() -> bool:
    """Run both children until a signal; False when one of them does not stay up."""
    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    children = [
        Child("worker", _WORKER, orphaned=signal.SIGTERM),
        # gunicorn's quick end: while it ended slowly, the next one could not have its port.
        Child("web", _WEB, orphaned=signal.SIGQUIT),
    ]
    alive = True
    while alive and not stopping.wait(0.5):
        alive = all(child.revive() for child in children)
    # First the web: what it has accepted, the worker may still do.
    deadline = time.monotonic() + _STOP_WITHIN
    for child in reversed(children):
        child.terminate()
    for child in children:
        child.wait(deadline)
    return alive


def _prepare_database(url: str) -> None:
    with closing(Storage(url)) as storage:
        if current_revision(storage) is None:
            upgrade_schema(storage)
        check_schema(storage)
