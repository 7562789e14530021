"""What the commands that list a page have in common: their options, and how to go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

from app.ledger.paging import DEFAULT_LIMIT, LONGEST_PAGE

_Command = TypeVar("_Command", bound=Callable[..., object])

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def with_options(
    options: tuple[Callable[[_Command], _Command], ...],
) -> Callable[[_Command], _Command]:
    """Make several options one decorator; they are listed in this order."""

    def decorate(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def page_options(command: _Command) -> _Command:
    """`--limit`, `--cursor` and `--json`."""
    limit = click.IntRange(1, LONGEST_PAGE)
    options = (
        click.option("--limit", type=limit, default=DEFAULT_LIMIT, show_default=True),
        click.option("--cursor", help="Go on after a list that was not the end."),
        as_json_option,
    )
    return with_options(options)(command)


def tell_next(cursor: str | None) -> None:
    """Say how to go on, where there may be more."""
    if cursor:
        click.echo(f"There may be more: --cursor {cursor}")
