"""Runs the benchmarks and writes what they found into docs/benchmarks.md.

    make bench                                  all of them, in under ten minutes on two cores
    make bench BENCH_ARGS="ingest memory"       these; the sections of the others stay
    make bench BENCH_ARGS="--print scale"       without writing

Each script is a module with `measure`, which returns the lines of its section. What people wrote
outside the marks stays as it is.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import import_module

from app.cli.interrupting import end_as_by_interrupt
from tools.benchmarks import machine
from tools.benchmarks.service import ROOT

# In the order of their sections.
SCRIPTS = (
    "ingest",
    "endtoend",
    "growth",
    "waiting",
    "memory",
    "recovery",
    "scale",
    "isolation",
)
PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
_SECTION = re.compile(r"<!-- script: (\w+) -->\n(.*?)(?=<!-- script: |\Z)", re.DOTALL)


def main() -> int:
    """Run what is asked for; 1 when a script failed, whose old section stays then."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("scripts", nargs="*", metavar="SCRIPT", help=", ".join(SCRIPTS))
    parser.add_argument("--print", action="store_true", help="write to standard output alone")
    asked = parser.parse_args()
    end_as_by_interrupt()
    wanted = asked.scripts or SCRIPTS
    if unknown := set(wanted) - set(SCRIPTS):
        parser.error(f"no script is called {', '.join(sorted(unknown))}")
    found = {name: lines for name in SCRIPTS if name in wanted and (lines := _run(name))}
    if asked.print:
        print("\n".join(line for lines in found.values() for line in lines))
    elif found:
        PAGE.write_text(rewritten(PAGE.read_text(), found))
    return 0 if len(found) == len(set(wanted)) else 1


def _run(name: str) -> list[str]:
    print(f"{name} …", end=" ", file=sys.stderr, flush=True)
    started, at = time.monotonic(), datetime.now(UTC)
    try:
        lines: list[str] = import_module(f"tools.benchmarks.{name}").measure()
    except Exception:  # noqa: BLE001 - the other scripts shall still run
        traceback.print_exc()
        return []
    seconds = time.monotonic() - started
    print(f"{seconds:.0f} s", file=sys.stderr)
    when = f"Measured {at:%Y-%m-%d %H:%M} UTC at commit {machine.commit()}, in {seconds:.0f} s."
    return [*lines, when, ""]


def rewritten(page: str, found: Mapping[str, Sequence[str]]) -> str:
    """The page with these sections in the place of the old ones. Pure but for the machine."""
    before, _, rest = page.partition(BEGIN)
    old, _, after = rest.partition(END)
    sections = {name: text.strip() for name, text in _SECTION.findall(old)}
    sections |= {name: "\n".join(lines).strip() for name, lines in found.items()}
    parts = [f"<!-- script: {name} -->\n{sections[name]}\n" for name in SCRIPTS if name in sections]
    measured = "\n".join([_machine(), *parts])
    return f"{before}{BEGIN}\n{measured}\n{END}{after}"


def _machine() -> str:
    return (
        f"Machine: {machine.described()}. What is repeated is given as a median and, in brackets, "
        "its range; everything else is one run.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
