"""The project's pages, and the parts of them that tests look at."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = tuple(
    sorted(
        str(page.relative_to(ROOT)) for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
    )
)
RUN = "docs/run.md"
TROUBLESHOOT = "docs/troubleshoot.md"
REFERENCE = "docs/reference.md"
AMPLIENCE = "docs/amplience.md"
ARCHITECTURE = "docs/architecture.md"

_BLOCK = re.compile(r"^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


@cache
def text(page: str) -> str:
    """A page as it stands; its path is relative to the project's folder."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str = "") -> list[str]:
    """The code blocks of a page that are marked with this language; by default those with none."""
    found = _BLOCK.finditer(text(page))
    return [match["code"] for match in found if match["language"] == language]


def code(page: str) -> list[str]:
    """Whatever a page sets as code: each line of its blocks, and what stands in backticks."""
    lines = [line for match in _BLOCK.finditer(text(page)) for line in match["code"].splitlines()]
    return lines + re.findall(r"`([^`\n]+)`", prose(page))


def prose(page: str) -> str:
    """A page without its code blocks."""
    return _BLOCK.sub("", text(page))


def section(page: str, title: str) -> str:
    """What stands under a heading, up to the next one of the same rank or above."""
    rank = re.search(rf"^(#+) {re.escape(title)}$", text(page), re.MULTILINE)
    assert rank, f"{page} has no heading {title!r}"
    rest = text(page)[rank.end() :]
    return re.split(rf"^#{{1,{len(rank[1])}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(part: str, *, header: str) -> list[list[str]]:
    """The cells of each row of the tables whose first heading is `header`."""
    found: list[list[str]] = []
    inside = False
    for line in part.splitlines():
        if not line.startswith("|"):
            inside = False
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == header:
            inside = True
        elif inside and set(line) - set("|- "):
            found.append(cells)
    return found


def named(rows_of_table: list[list[str]], column: int = 0) -> set[str]:
    """What stands in backticks in one column."""
    return {name for row in rows_of_table for name in re.findall(r"`([^`]+)`", row[column])}
