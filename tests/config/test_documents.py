"""What operators read is kept true: the page, the example file and the example environment."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from app.config import ENVIRONMENT_VARIABLES, load_settings
from app.config.destination_tables import DeleteTable, DestinationTable, RetryTable
from app.config.document import FILE_TABLES
from app.config.hub_tables import DeliveryTable, HubTable
from app.config.rule_tables import ACTION_TABLES, ConditionTable, RuleTable, WhereTable
from app.config.tables import Table
from app.events import KNOWN_EVENT_NAMES
from tests.config.loading import SIGNING_SECRET, load

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
EXAMPLE_FILE = (ROOT / "relay.example.toml").read_text(encoding="utf-8")
EXAMPLE_ENVIRONMENT = (ROOT / ".env.example").read_text(encoding="utf-8")

TABLES: tuple[type[Table], ...] = (
    HubTable,
    DeliveryTable,
    RuleTable,
    WhereTable,
    ConditionTable,
    DestinationTable,
    DeleteTable,
    RetryTable,
    *ACTION_TABLES.values(),
)
SETTINGS = sorted(
    {each.data_key or name for table in TABLES for name, each in table().fields.items()}
)


def test_page_describes_exactly_the_variables_that_are_read() -> None:
    described = set(re.findall(r"(?m)^\| `([A-Z_]+)`((?:, `[A-Z_]+`)*) \|", PAGE))
    names = {name for first, more in described for name in re.findall("[A-Z_]+", first + more)}
    assert names == set(ENVIRONMENT_VARIABLES)


def test_example_environment_has_exactly_the_variables_that_are_read() -> None:
    names = re.findall(r"(?m)^([A-Z_]+)=", EXAMPLE_ENVIRONMENT)
    assert sorted(names) == sorted(ENVIRONMENT_VARIABLES)


def test_example_environment_explains_each_variable_on_the_line_above() -> None:
    lines = EXAMPLE_ENVIRONMENT.splitlines()
    unexplained = [
        line
        for above, line in pairwise(lines)
        if "=" in line and line[0] != "#" and not re.match(r"# \S", above)
    ]
    assert unexplained == []


def test_example_environment_loads_with_a_webhook_secret_and_gives_the_defaults() -> None:
    pairs = re.findall(r"(?m)^([A-Z_]+)=(.*)$", EXAMPLE_ENVIRONMENT)
    assert load({**dict(pairs), "WEBHOOK_SECRET": "s"}) == load({"WEBHOOK_SECRET": "s"})


@pytest.mark.parametrize("setting", SETTINGS)
def test_setting_is_on_the_page_and_in_the_example_file(setting: str) -> None:
    assert re.search(rf"(?m)^\| (`\w+`, )*`{setting}`", PAGE)
    assert re.search(rf"(?m)(^|[#{{,] ){setting} = |^\[.+\.{setting}\]$", EXAMPLE_FILE)


@pytest.mark.parametrize("table", sorted(FILE_TABLES))
def test_top_level_table_is_on_the_page(table: str) -> None:
    assert re.search(rf"(?m)^### `\[+{table}[.\]]", PAGE)


@pytest.mark.parametrize("name", sorted(KNOWN_EVENT_NAMES))
def test_page_lists_every_event(name: str) -> None:
    assert f"| `{name}` |" in PAGE


def test_example_file_loads_with_the_variables_that_it_lists() -> None:
    listed = EXAMPLE_FILE[EXAMPLE_FILE.index("This example uses") : EXAMPLE_FILE.index("[hubs")]
    variables = dict.fromkeys(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", listed), "value")
    settings = load({**variables, "SEARCH_SIGNING_SECRET": SIGNING_SECRET}, EXAMPLE_FILE)
    assert [hub.key for hub in settings.hubs] == ["main", "outlet"]
    assert [rule.name for rule in settings.rules] == [
        "localize new banners",
        "index articles",
        "drop what is archived",
    ]
    assert [place.name for place in settings.destinations] == ["search"]


def test_examples_hold_no_secret() -> None:
    secret = r"(?im)^#? *\w*(?:secret|token|key|password)\w* *= *(?P<value>\S.*)$"
    for text in (EXAMPLE_FILE, EXAMPLE_ENVIRONMENT):
        for found in re.finditer(secret, text):
            assert "${" in found["value"]


def test_loading_reads_nothing_but_what_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADMIN_TOKEN", "from-the-process")
    assert load_settings({"WEBHOOK_SECRET": "s"}, directory=tmp_path).admin_token is None
