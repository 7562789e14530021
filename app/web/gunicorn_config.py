"""How gunicorn serves the web part (the command is in the Procfile).

gunicorn reads the module's names as its settings
(https://docs.gunicorn.org/en/stable/settings.html); what is not named here keeps its default, such
as the limits on a request's line and headers.
"""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit

from gunicorn import glogging  # type: ignore[import-untyped]
from gunicorn.arbiter import Arbiter  # type: ignore[import-untyped]
from gunicorn.config import Config  # type: ignore[import-untyped]

from app.config import load_settings
from app.errors import ConfigError
from app.observability import configure_logging
from app.observability.metrics import share_counters
from app.web.counter_files import CounterDirectory, named_parent

# Each worker's heartbeat is a file; on a disk that is busy or slow, touching it can block a worker
# (https://docs.gunicorn.org/en/stable/faq.html#how-do-i-avoid-gunicorn-excessively-blocking-in-os-fchmod).
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - gunicorn's advice

try:
    settings = load_settings(os.environ)
    # Of all workers, so that /metrics adds them up, and those that were killed. gunicorn imports
    # this module once, so a reload of its configuration makes no second one.
    _counters = CounterDirectory(
        named_parent(os.environ, otherwise=worker_tmp_dir or tempfile.gettempdir())
    )
except ConfigError as error:
    # Here, once, with every fault; not as a stack from each worker that dies while it starts.
    raise SystemExit(
        "\n".join(
            ["The configuration cannot be used:", *(f"  {fault}" for fault in error.problems)]
        )
    ) from None

configure_logging(settings.log_level, settings.log_format, secrets=settings.secrets)


class RootLogger(glogging.Logger):  # type: ignore[misc]  # gunicorn has no types
    """Sends gunicorn's own lines through our formatter, in place of its own."""

    def setup(self, cfg: Config) -> None:
        """Called by gunicorn at start and at each reload of its configuration."""
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            for handler in tuple(log.handlers):
                log.removeHandler(handler)
            log.propagate = True
            log.setLevel(logging.NOTSET)


logger_class = RootLogger
# Each webhook is logged by the view, with what became of it.
accesslog = None

# All addresses at $PORT where a platform sets it, else 127.0.0.1:8000, so that a trial on a laptop
# is not open to its network.
bind = f"{'0.0.0.0' if os.environ.get('PORT', '').strip() else '127.0.0.1'}:{settings.port}"  # noqa: S104
workers = settings.web_concurrency
worker_class = "app.web.buffering.BufferingWorker"
# Requests that wait for the same commit: as many as there are threads share one at the most.
threads = 32
# Each worker builds its own engine and connections: a connection must not be shared over a fork.
preload_app = False
# For a threaded worker these 30 s are for its main loop's sign of life, not for a request.
timeout = 30
# A platform kills 30 s after SIGTERM (Heroku) or less; what runs is finished before.
graceful_timeout = 25
# Longer than the router in front keeps an idle connection (Heroku: 90 s), so that it is never we
# who close one just as a webhook is sent on it.
keepalive = 100
# Nothing leaks that we know of, and a restart on a count would hide it.
max_requests = 0
# Open connections of a worker. Half of the files that it may open stay for the database.
_files = getrlimit(RLIMIT_NOFILE)[0]
worker_connections = 1000 if _files == RLIM_INFINITY else min(1000, max(2 * threads, _files // 2))
# Nobody uses it, and it needs a writable home directory.
control_socket_disable = True

share_counters(_counters.path)


def on_exit(_server: Arbiter) -> None:
    """Called by gunicorn in its parent process, at the end."""
    _counters.remove()
