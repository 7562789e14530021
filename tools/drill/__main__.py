"""`python -m tools.drill`: run the drill, print what it found and write it into build/drill.md."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import click

from app.cli.sandbox import interrupt_on_signals
from tools.drill import report
from tools.drill.trial import Verdict, run
from tools.stores import PostgresStore, SqliteStore

# The start, and the leases of those that were killed last.
AROUND = 25.0
BROKEN_FOR = 15.0
BROKEN_RATE = 40.0
BROKEN_TRIES = 3


@click.command()
@click.option(
    "--seconds",
    default=240,
    show_default=True,
    type=click.IntRange(45, 270),
    help="About how long all of it may take.",
)
@click.option("--rate", default=12.0, show_default=True, help="Events a second, on each database.")
@click.option("--sqlite-only", is_flag=True, help="Leave PostgreSQL out, and write nothing.")
def drill(*, seconds: int, rate: float, sqlite_only: bool) -> None:
    """Kill, crash and break everything under load, then count what was lost."""
    interrupt_on_signals()
    stores = (SqliteStore,) if sqlite_only else (SqliteStore, PostgresStore)
    trouble = max(15.0, seconds - AROUND - (0 if sqlite_only else BROKEN_FOR + AROUND))
    over = threading.Event()
    with ThreadPoolExecutor() as threads:
        try:
            trials = partial(run, over=over, seconds=trouble, rate=rate)
            sound = list(threads.map(trials, stores))
        except KeyboardInterrupt:
            over.set()
            raise
    status = _tell(sound)
    if not sqlite_only:
        # Chance decides whether a kill meets the gap between answer and commit.
        once = partial(run, SqliteStore, seconds=BROKEN_FOR, rate=BROKEN_RATE, broken=True)
        tries = (once(over=over) for _ in range(BROKEN_TRIES))
        broken = next((each for each in tries if each.lost), None)
        report.write(sound, broken)
        if broken is None:
            click.echo("The broken variant lost nothing, so this drill proves nothing.", err=True)
            status = 1
    sys.exit(status)


def _tell(verdicts: list[Verdict]) -> int:
    """Print what was found; 1 if anything was lost or left undone, else 0."""
    click.echo("\n".join(report.table([(each.store, each) for each in verdicts])))
    for each in verdicts:
        click.echo(f"{each.store}: jobs {each.states}; answers {dict(each.posts)}")
        for name in each.lost[:20]:
            click.echo(f"{each.store}: lost event {name}")
    bad = [each for each in verdicts if each.lost or each.changed_id or each.recovery is None]
    return 1 if bad else 0


if __name__ == "__main__":
    drill()
