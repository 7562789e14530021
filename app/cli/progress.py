"""Shows how far a long command is, on stderr: one line that changes on a terminal, else new lines.

It must not know what is done.
"""

from __future__ import annotations

import shutil
import sys
import time

import click

_WIDTH = 20
# Where lines stay, one now and then is enough.
_LINE_EVERY = 5.0


class Progress:
    """The progress of one command, called `name`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._is_terminal = sys.stderr.isatty()
        self._is_open = False
        self._last = ""
        self._last_at = float("-inf")

    def show(self, text: str, *, done: int = 0, of: int = 0) -> None:
        """Show the state of things, with a bar where `of` is known."""
        if text == self._last:
            return
        if self._is_terminal:
            filled = round(_WIDTH * done / of) if of else 0
            bar = f"[{'#' * filled}{'.' * (_WIDTH - filled)}] " if of else ""
            line = f"{self._name} {bar}{text}"[: shutil.get_terminal_size().columns - 1]
            click.echo(f"\r\033[K{line}", err=True, nl=False)
            self._is_open = True
        elif time.monotonic() - self._last_at >= _LINE_EVERY:
            click.echo(f"{self._name}: {text}", err=True)
            self._last_at = time.monotonic()
        self._last = text

    def tell(self, text: str) -> None:
        """Write a line that stays."""
        self.end()
        click.echo(text, err=True)

    def end(self) -> None:
        """Leave the line as it is; what follows begins a new one."""
        if self._is_open:
            click.echo(err=True)
        self._is_open = False
