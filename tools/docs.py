"""Write the tables in docs/reference.md that come from the code.

`python -m tools.docs` rewrites what stands between the markers; with `--check` it changes nothing
and exits with 1 when the page is out of date.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from app.advice import ALERTS, REASONS, Advice

PAGE = Path(__file__).parents[1] / "docs" / "reference.md"

# Settings, commands and log events are set as code where a text names them.
_CODE = re.compile(r'where = \{[^}]*\}|"verified": false|dc-relay check|\b\w+_\w+\b|\w+\.crashed\b')
_PAGE_NAME = re.compile(r"\b(\w+\.md)\b")


def tables() -> dict[str, str]:
    """Every generated table, by the name in its markers."""
    return {
        "reasons": _table("reason", REASONS, with_states=True),
        "alerts": _table("alert", ALERTS, with_states=False),
    }


def written(text: str) -> str:
    """The page with every generated table up to date."""
    for name, table in tables().items():
        begin, end = f"<!-- generated: {name} -->\n", "<!-- end -->"
        before, found, rest = text.partition(begin)
        _, ended, after = rest.partition(end)
        if not found or not ended:
            sys.exit(f"{PAGE.name} has no markers for {name}.")
        text = f"{before}{begin}\n{table}\n{end}{after}"
    return text


def _table(head: str, advice: Mapping[str, Advice], *, with_states: bool) -> str:
    state_head = ["state of the job"] if with_states else []
    rows = [[head, *state_head, "what it means", "what to do"]]
    rows.append(["---"] * len(rows[0]))
    for slug, each in advice.items():
        state = [each.states] if with_states else []
        rows.append([f"`{slug}`", *state, _marked(each.meaning), _marked(each.todo)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _marked(text: str) -> str:
    return _PAGE_NAME.sub(r"[\1](\1)", _CODE.sub(r"`\g<0>`", text))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether it is up to date")
    check: bool = parser.parse_args().check
    found = PAGE.read_text(encoding="utf-8")
    wanted = written(found)
    if check and found != wanted:
        sys.exit(f"docs/{PAGE.name} is out of date: run `make docs`.")
    if not check:
        PAGE.write_text(wanted, encoding="utf-8")


if __name__ == "__main__":
    main()
