"""Runs the benchmarks, prints what they found and writes it into build/benchmarks.md.

    make bench                                  all of them, in ten minutes
    make bench BENCH_ARGS="promises memory"     these
    make bench BENCH_ARGS="--brief"             with too little load to mean anything

Each script is a module with `measure`, which returns the lines of its section.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from importlib import import_module

from app.cli.sandbox import interrupt_on_signals
from tools import report

SCRIPTS = ("promises", "growth", "memory", "recovery", "scale")
# No script begins later, so that all end in ten minutes.
LAST_START = 500.0


def main() -> int:
    """Run what is asked for; 1 when a script failed or was left out."""
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("scripts", nargs="*", metavar="SCRIPT", help=", ".join(SCRIPTS))
    parser.add_argument("--brief", action="store_true", help="only show that the scripts work")
    asked = parser.parse_args()
    if unknown := set(asked.scripts) - set(SCRIPTS):
        parser.error(f"no script is called {', '.join(sorted(unknown))}")
    interrupt_on_signals()
    wanted = [name for name in SCRIPTS if name in (asked.scripts or SCRIPTS)]
    end = time.monotonic() + LAST_START
    sections = [_run(name, end, brief=asked.brief) for name in wanted]
    report.write("benchmarks", "Benchmarks", [line for lines in sections for line in lines])
    return 0 if all(sections) else 1


def _run(name: str, end: float, *, brief: bool) -> list[str]:
    print(f"{name} …", end=" ", file=sys.stderr, flush=True)
    started = time.monotonic()
    if started > end:
        print("left out: the time is over", file=sys.stderr)
        return []
    try:
        lines: list[str] = import_module(f"tools.benchmarks.{name}").measure(brief=brief)
    except Exception:  # noqa: BLE001 - the other scripts shall still run
        traceback.print_exc()
        return []
    print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)
    return lines


if __name__ == "__main__":
    sys.exit(main())
