"""Measures this checkout beside another revision, by turns in one run, on both databases.

    make compare BASE=976d7ff
    .venv/bin/python -m tools.benchmarks.compare BASE [--seconds 10] [--rounds 3] [--store sqlite]

BASE is a revision, for which a git worktree is made under build/ and removed afterwards, or the
directory of a checkout. Its service is only started, with its own .venv where it has one; the load,
Content Delivery 2 and the destination are this checkout's for both. What else the machine does
meets both sides alike: judge the ratio of each pair, not the absolute times. Writes
build/compare.md; exits with 1 when a bound does not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from app.cli.sandbox import interrupt_on_signals
from tools import report, service, stores
from tools.benchmarks import stubs
from tools.benchmarks.visit import FIGURES, Figure, Visit, visit

Pair = tuple[Visit, Visit]
# A slow machine gets fewer pairs: on one database all take at most so many times their load.
MOST_TIMES = 4.7


def main() -> int:
    """Compare and report; 1 when a bound does not hold."""
    asked = _arguments()
    interrupt_on_signals()
    lines: list[str] = []
    well = True
    with _checkout(asked.base) as (base, named), stubs.running() as outside:
        for kind in asked.store or stores.KINDS:
            with stores.store(stores.KINDS[kind]) as (store, _):
                pairs = _pairs(store, outside, base, asked)
            table, held = _table(pairs)
            lines += [f"## {store.name}, pairs: {len(pairs)}", "", *table]
            well = well and held
    said = (
        f"`base` is {named}. Both were visited in turn, {asked.rounds} times at most, with about "
        f"{asked.seconds:g} s of load each time. Shown are medians, and the median of the ratios "
        "here : base of each pair, with their range. A bound that base misses in the same run says "
        "more of the machine than of the change."
    )
    report.write("compare", f"This checkout beside {named}", [said, "", *lines])
    return 0 if well else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("base", metavar="BASE", help="a revision, or the directory of a checkout")
    parser.add_argument("--seconds", type=float, default=10.0, help="load of a visit: 2 to 60")
    parser.add_argument("--rounds", type=int, default=3, help="pairs of visits: 1 to 20")
    parser.add_argument("--store", action="append", choices=stores.KINDS, help="only this one")
    asked = parser.parse_args()
    if not (2 <= asked.seconds <= 60 and 1 <= asked.rounds <= 20):
        parser.error("--seconds is 2 to 60 and --rounds 1 to 20")
    return asked


@contextlib.contextmanager
def _checkout(base: str) -> Iterator[tuple[service.Checkout, str]]:
    """The other checkout, and what to call it."""
    if (directory := Path(base)).joinpath("Procfile").exists():
        yield service.Checkout(directory.resolve()), directory.name
        return
    commit = report.commit(base)
    Path("build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="base-", dir=Path("build").resolve()) as parent:
        place = Path(parent) / "checkout"
        try:
            _git("worktree", "add", "--quiet", "--detach", str(place), base)
            yield service.Checkout(place), commit
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):
                _git("worktree", "remove", "--force", str(place))


def _git(*arguments: str) -> None:
    subprocess.run(("git", *arguments), cwd=service.ROOT, check=True, timeout=120)


def _pairs(
    store: stores.Store, outside: stubs.Stubs, base: service.Checkout, asked: argparse.Namespace
) -> list[Pair]:
    sides = [
        (checkout, outside.environment(store.database(name)))
        for name, checkout in (("base", base), ("here", service.HERE))
    ]
    for checkout, environ in sides:
        service.make_tables(environ, checkout)
    pairs: list[Pair] = []
    begun = started = time.monotonic()
    while len(pairs) < asked.rounds:
        first, second = (visit(environ, outside, asked.seconds, which) for which, environ in sides)
        pairs.append((first, second))
        took, started = time.monotonic() - started, time.monotonic()
        print(f"{store.name}: pair {len(pairs)} in {took:.0f} s", file=sys.stderr)
        if started + took > begun + MOST_TIMES * asked.seconds * asked.rounds:
            break
    return pairs


def _table(pairs: Sequence[Pair]) -> tuple[list[str], bool]:
    base, here = ([pair[side] for pair in pairs] for side in (0, 1))
    rows, well = [], True
    for figure in FIGURES:
        ratios = _ratios(figure, pairs)
        ratio = median(ratios) if ratios else 1.0
        said = "yes" if figure.holds(here, ratio) else "**no**"
        if said != "yes" and not figure.holds(base, 1.0):
            # The machine's fault, or an old one: not what this checkout changed.
            said = "no, nor at base"
        well = well and said != "**no**"
        shown = report.spread(ratios, 2) if ratios else ""
        rows.append(
            [figure.name, figure.shown(base), figure.shown(here), shown, figure.bound, said]
        )
    head = ("figure", "base", "here", "ratio (median of pairs)", "bound", "ok?")
    return report.table(head, rows), well


def _ratios(figure: Figure, pairs: Sequence[Pair]) -> list[float]:
    """Here to base, of each pair in which base has something to divide by."""
    return [figure.of(here) / figure.of(base) for base, here in pairs if figure.of(base)]


if __name__ == "__main__":
    sys.exit(main())
