"""How figures are written: tables in Markdown, into `build/`, with the date, commit and machine."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from tools.service import ROOT


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table, with an empty one after it."""
    lines = [head, ["---"] * len(head), *rows]
    return [*(f"| {' | '.join(line)} |" for line in lines), ""]


def spread(values: Sequence[float], digits: int = 0, unit: str = "") -> str:
    """The median, and the range in brackets where there are several values."""
    middle = f"{median(values):,.{digits}f}{unit}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def verdict(*, well: bool) -> str:
    """The last cell of a row: whether its bound holds."""
    return "yes" if well else "**no**"


def percentile(values: Sequence[float], share: float) -> float:
    """The value that a share (0 to 1) of the values does not exceed; 0 when there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def write(name: str, title: str, lines: Sequence[str]) -> None:
    """Write a page into `build/` of the working directory, and print it."""
    page = "\n".join([f"# {title}", "", _machine(), "", *lines]).rstrip() + "\n"
    place = Path("build", f"{name}.md")
    place.parent.mkdir(exist_ok=True)
    place.write_text(page, encoding="utf-8")
    print(page)


def _machine() -> str:
    info = Path("/proc/cpuinfo")
    named = re.search(r"model name\s+: (.+)", info.read_text()) if info.exists() else None
    load, cores = os.getloadavg()[1], os.cpu_count()
    return (
        f"Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC at commit {commit()} on "
        f"{named[1] if named else platform.machine()}, {cores} cores, {platform.system()} "
        f"{platform.release()}, Python {platform.python_version()}, SQLite "
        f"{sqlite3.sqlite_version}. Load average over the last 5 minutes: {load:.1f}."
    )


def commit(revision: str = "HEAD") -> str:
    """A commit's short id; for the checkout itself with a plus sign where files have changed."""
    arguments = ("--dirty=+",) if revision == "HEAD" else (revision,)
    found = subprocess.run(
        ("git", "describe", "--always", "--exclude=*", *arguments),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or "unknown"
