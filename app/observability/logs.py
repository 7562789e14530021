"""Logs: one JSON object per line on stderr, from our own code and from the libraries alike.

Everything goes through the standard library's root logger, so that gunicorn, SQLAlchemy and
Alembic are rendered and masked the same way. This module must not know what is being logged.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections import deque
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Literal, TextIO

import structlog
from structlog.contextvars import bound_contextvars
from structlog.typing import EventDict, Processor, WrappedLogger

from app.observability.masking import Mask

if TYPE_CHECKING:
    _Stream = logging.StreamHandler[TextIO]
else:  # it cannot be subscripted while the program runs
    _Stream = logging.StreamHandler

LogFormat = Literal["json", "console"]

# A library that logs every request or every plugin drowns what a person looks for; LOG_LEVEL=DEBUG
# shows all of it.
_CHATTY = ("alembic.runtime.plugins", "werkzeug")
# Never below WARNING: at DEBUG it writes the path of each call, and some services keep a key in it.
_TELLTALE = ("urllib3",)


def configure_logging(level: str, log_format: LogFormat, *, secrets: Iterable[str] = ()) -> None:
    """Send every log line of this process to stderr, with the given secrets masked.

    `level` is a name such as `INFO`, in any case; an unknown one raises `ValueError`. Call it once
    at start, in each process; a later call replaces the set-up, and loggers made before follow it.
    """
    handler = _SharedStream(sys.stderr)
    handler.setFormatter(_formatter(log_format, Mask(secrets)))
    root = logging.getLogger()
    for old in [kept for kept in root.handlers if getattr(kept, "of_dc_relay", False)]:
        root.removeHandler(old)
    handler.of_dc_relay = True  # type: ignore[attr-defined]  # so that the next call finds it
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(
            logging.NOTSET if root.level <= logging.DEBUG else logging.WARNING
        )
    for name in _TELLTALE:
        logging.getLogger(name).setLevel(logging.WARNING)
    # `warnings.warn` would write past the formatter, with the offending source line in it.
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared_processors(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        # Not cached: a logger used before this call must follow the new set-up.
        cache_logger_on_first_use=False,
    )


def log_context(
    *,
    event_id: str | None = None,
    job_id: str | int | None = None,
    hub: str | None = None,
    destination: str | None = None,
    worker: str | None = None,
) -> AbstractContextManager[None]:
    """Add these fields to every log line and error report inside the `with` block.

    They hold in this thread or task only: a thread started inside the block begins without them.
    """
    fields = {
        "event_id": event_id,
        "job_id": job_id,
        "hub": hub,
        "destination": destination,
        "worker": worker,
    }
    return bound_contextvars(**{name: value for name, value in fields.items() if value is not None})


def _shared_processors() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _formatter(log_format: LogFormat, mask: Mask) -> logging.Formatter:
    renderer: Processor
    if log_format == "console":
        # The plain formatter: the pretty one shows local variables, and those hold secrets.
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    else:
        renderer = structlog.processors.JSONRenderer()
    return structlog.stdlib.ProcessorFormatter(
        # Foreign records come without them; `%s` arguments are put in before.
        foreign_pre_chain=_shared_processors(),
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            # Last but for the renderer: nothing may be added once it has been masked.
            _Masking(mask),
            renderer,
        ],
        use_get_message=True,
    )


class _SharedStream(_Stream):
    """A stream that many threads log to at once: whoever writes takes the others' lines along.

    The library's own handler has them wait for each other, formatting included, and in a busy door
    that cost more than all else a webhook asked for. No line is kept back: it is on its way when
    the call returns, unless another thread is writing at that moment, and then that one takes it.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lines: deque[str] = deque()
        self._writing = threading.Lock()

    def handle(self, record: logging.LogRecord) -> bool:
        """Format and write one record; without the library's lock, which nothing here needs."""
        if not self.filter(record):
            return False
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's line, and those that others left."""
        try:
            self._lines.append(self.format(record) + self.terminator)
            # Once more after each turn: a line may have been left while nobody could write it.
            while self._lines and self._writing.acquire(blocking=False):
                try:
                    self._write_all()
                finally:
                    self._writing.release()
        except Exception:  # noqa: BLE001 - as the library has it: a log must not end its caller
            self.handleError(record)

    def _write_all(self) -> None:
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        self.stream.write("".join(lines))
        self.stream.flush()


class _Masking:
    """A structlog processor over `Mask`."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask

    def __call__(self, _logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
        masked = self._mask.value(event_dict)
        return masked if isinstance(masked, dict) else {}
