"""What a command prints: rows as aligned text for people, or the same as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click

# A column that is wider makes the others hard to find.
_WIDEST = 60


def print_json(value: Any) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their headings; None is a dash. What is too long is cut."""
    cells = [list(headings), *([_cell(value) for value in row] for row in rows)]
    if len(cells) == 1:
        click.echo("none")
        return
    widths = [max(len(row[at]) for row in cells) for at in range(len(headings))]
    for row in cells:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def print_pairs(pairs: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one to a line; what is None is left out."""
    told = [(name, str(_moment(value))) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in told), default=0)
    for name, text in told:
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
    # A label may hold line breaks and terminal controls.
    text = "".join(letter if letter.isprintable() else "?" for letter in str(_moment(value)))
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


def _moment(value: object) -> object:
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z" if isinstance(value, datetime) else value
