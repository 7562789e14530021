"""What commands print: tables for people, JSON for programs, progress of long commands."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click

# A wider column makes the others hard to find.
_WIDEST_CELL = 60
_BAR_WIDTH = 20
# Seconds between two lines of progress where lines stay.
_LINE_EVERY = 5.0


def print_json(value: Any) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their headings; None is a dash. Long values are cut."""
    cells = [list(headings), *([_cell(value) for value in row] for row in rows)]
    if len(cells) == 1:
        click.echo("none")
        return
    widths = [max(len(row[at]) for row in cells) for at in range(len(headings))]
    for row in cells:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def print_pairs(pairs: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one to a line, without those that are None."""
    shown = [(name, str(_moment(value))) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in shown), default=0)
    for name, text in shown:
        click.echo(f"{name.ljust(width)}  {text}")


def counted(count: int, noun: str) -> str:
    """`1 job`, `2 jobs`, `12,345 jobs`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def age(seconds: float | None) -> str | None:
    """A length of time, shortly: `45 s`, `12 min`, `3.5 h`, `2.0 d`."""
    if seconds is None:
        return None
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86_400:.1f} d"


def _cell(value: object) -> str:
    if value is None:
        return "-"
    # A label may contain line breaks and terminal controls.
    text = "".join(letter if letter.isprintable() else "?" for letter in str(_moment(value)))
    return text if len(text) <= _WIDEST_CELL else text[: _WIDEST_CELL - 1] + "…"


def _moment(value: object) -> object:
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z" if isinstance(value, datetime) else value


class Progress:
    """Progress of the command `name` on stderr: on a terminal one line that changes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._is_terminal = sys.stderr.isatty()
        self._is_open = False
        self._last = ""
        self._last_at = float("-inf")

    def show(self, text: str, *, done: int = 0, of: int = 0) -> None:
        """Replace what is shown, with a bar where `of` is known."""
        if text == self._last:
            return
        if self._is_terminal:
            filled = round(_BAR_WIDTH * done / of) if of else 0
            bar = f"[{'#' * filled}{'.' * (_BAR_WIDTH - filled)}] " if of else ""
            line = f"{self._name} {bar}{text}"[: shutil.get_terminal_size().columns - 1]
            click.echo(f"\r\033[K{line}", err=True, nl=False)
            self._is_open = True
        elif time.monotonic() - self._last_at >= _LINE_EVERY:
            click.echo(f"{self._name}: {text}", err=True)
            self._last_at = time.monotonic()
        self._last = text

    def note(self, text: str) -> None:
        """Write a line that stays."""
        self.end()
        click.echo(text, err=True)

    def end(self) -> None:
        """Leave the current line; output that follows begins a new one."""
        if self._is_open:
            click.echo(err=True)
        self._is_open = False
