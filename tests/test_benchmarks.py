from importlib import import_module
from pathlib import Path

import pytest

from tools.benchmarks.__main__ import BEGIN, END, PAGE, SCRIPTS, rewritten

FOLDER = Path(__file__).parent.parent / "tools" / "benchmarks"
# What `bare` needs it reads at its import, in a process of its own.
MODULES = sorted(file.stem for file in FOLDER.glob("*.py") if file.stem not in ("__init__", "bare"))


@pytest.mark.parametrize("name", MODULES)
def test_each_module_of_the_benchmarks_can_be_imported(name: str) -> None:
    assert import_module(f"tools.benchmarks.{name}").__doc__


def test_the_runner_knows_every_script() -> None:
    scripts = {
        name for name in MODULES if hasattr(import_module(f"tools.benchmarks.{name}"), "measure")
    }
    assert set(SCRIPTS) == scripts


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_page_has_a_section_for_each_script(name: str) -> None:
    measured = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert f"<!-- script: {name} -->\n## " in measured
    assert f"`tools/benchmarks/{name}.py`" in measured


def test_a_run_of_some_scripts_keeps_what_others_and_people_wrote() -> None:
    page = (
        f"# Title\n{BEGIN}\nMachine: old\n\n<!-- script: ingest -->\n## Ingest\n\nold\n\n"
        f"<!-- script: memory -->\n## Memory\n\nkept\n\n{END}\n\n## By hand\n"
    )
    new = rewritten(page, {"ingest": ["## Ingest", "", "new", ""]})
    assert new.startswith(f"# Title\n{BEGIN}\nMachine: ")
    assert "<!-- script: ingest -->\n## Ingest\n\nnew\n" in new
    assert "<!-- script: memory -->\n## Memory\n\nkept\n" in new
    assert new.endswith(f"{END}\n\n## By hand\n")
    assert "old" not in new
    assert rewritten(new, {"ingest": ["## Ingest", "", "new", ""]}) == new
