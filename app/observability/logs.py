"""Logs: one JSON object per line on stderr, from our own code and from the libraries alike.

gunicorn, SQLAlchemy and Alembic log through the standard library's root logger, and are rendered
and masked there as our own lines are, which do without it: a record of the library costs more than
all else that becomes of a line.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from functools import lru_cache, partial
from typing import Literal, TextIO

import structlog
from structlog.contextvars import bound_contextvars
from structlog.typing import EventDict, Processor, WrappedLogger

from app.observability.masking import Mask

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
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"Unknown level: {level!r}")
    rendering = _rendering(log_format, Mask(secrets))
    stream = _SharedStream(sys.stderr)
    handler = _Handler(stream)
    handler.setFormatter(_formatter(rendering))
    root = logging.getLogger()
    for old in [kept for kept in root.handlers if getattr(kept, "of_dc_relay", False)]:
        root.removeHandler(old)
    handler.of_dc_relay = True  # type: ignore[attr-defined]  # so that the next call finds it
    root.addHandler(handler)
    root.setLevel(number)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(
            logging.NOTSET if root.level <= logging.DEBUG else logging.WARNING
        )
    for name in _TELLTALE:
        logging.getLogger(name).setLevel(logging.WARNING)
    # `warnings.warn` would write past the formatter, with the offending source line in it.
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[*_shared_processors(), *rendering],
        # Loggers have their names and nothing else of their own.
        logger_factory=lru_cache(partial(_Logger, stream)),
        wrapper_class=structlog.make_filtering_bound_logger(number),
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


def _rendering(log_format: LogFormat, mask: Mask) -> list[Processor]:
    renderer: Processor
    if log_format == "console":
        # The plain formatter: the pretty one shows local variables, and those hold secrets.
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    else:
        renderer = _as_json
    # Masked last but for the renderer: nothing may be added once it has been.
    return [structlog.processors.format_exc_info, _Masking(mask), renderer]


# Made once. What has been masked is plain, so that nothing needs a fallback.
_JSON = json.JSONEncoder()


def _as_json(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> str:
    return _JSON.encode(event_dict)


def _formatter(rendering: Sequence[Processor]) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        # Foreign records come without them; `%s` arguments are put in before.
        foreign_pre_chain=_shared_processors(),
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        use_get_message=True,
    )


class _SharedStream:
    """A stream that many threads log to at once: whoever writes takes the others' lines along.

    The library's own handler has them wait for each other, formatting included, and in a busy door
    that cost more than all else a webhook asked for. No line is kept back: it is on its way when
    the call returns, unless another thread is writing at that moment, and then that one takes it.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: deque[str] = deque()
        self._writing = threading.Lock()

    def write(self, line: str) -> None:
        """Write a line, and those that others left. A stream that fails is the caller's to bear."""
        self._lines.append(line + "\n")
        # Once more after each turn: a line may have been left while nobody could write it.
        while self._lines and self._writing.acquire(blocking=False):
            try:
                self._write_all()
            finally:
                self._writing.release()

    def _write_all(self) -> None:
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        self._stream.write("".join(lines))
        self._stream.flush()


class _Logger:
    """What structlog gives our rendered lines to; each level is a method of this name."""

    def __init__(self, stream: _SharedStream, name: str = "app") -> None:
        self.name = name
        self._stream = stream

    def info(self, line: str) -> None:
        """Write the line; a stream that is gone must not end the caller."""
        with suppress(OSError, ValueError):
            self._stream.write(line)

    debug = warning = error = critical = exception = info


class _Handler(logging.Handler):
    """Writes the libraries' records to the same stream."""

    def __init__(self, stream: _SharedStream) -> None:
        super().__init__()
        self._stream = stream

    def handle(self, record: logging.LogRecord) -> bool:
        """Format and write one record; without the library's lock, which nothing here needs."""
        if not self.filter(record):
            return False
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's line."""
        try:
            self._stream.write(self.format(record))
        except Exception:  # noqa: BLE001 - as the library has it: a log must not end its caller
            self.handleError(record)


class _Masking:
    """A structlog processor over `Mask`."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask

    def __call__(self, _logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
        masked = self._mask.value(event_dict)
        return masked if isinstance(masked, dict) else {}
