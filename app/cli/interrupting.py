"""Ends a command as Ctrl-C does, whoever asks for it. It must not know what the command does."""

from __future__ import annotations

import signal
from types import FrameType

# From whoever has a time limit, and from a terminal that is closed.
_ENDS = (signal.SIGTERM, signal.SIGHUP)


def end_as_by_interrupt() -> None:
    """From now on SIGTERM and SIGHUP raise `KeyboardInterrupt`, so that what was started ends too.

    Once: a second signal must not break off what the first one began.
    """
    for number in _ENDS:
        signal.signal(number, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    for number in _ENDS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
