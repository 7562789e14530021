"""Whatever the configuration says, it loads or every fault is told, and no secret with it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.config import ENVIRONMENT_VARIABLES, Settings, load_settings
from app.errors import ConfigError
from tests.fuzz.inputs import fuzzed, numbers

SECRET = "Zq7-never-shown-93-24-characters"
EXAMPLE = (Path(__file__).parents[2] / "relay.example.toml").read_text()
VARIABLES = [name for name in ENVIRONMENT_VARIABLES if name != "RELAY_CONFIG"]
SECRETS = {
    "WEBHOOK_SECRET": SECRET,
    "AMPLIENCE_CLIENT_SECRET": SECRET,
    "AMPLIENCE_FRESH_API_KEY": SECRET,
    "SEARCH_KEY": SECRET,
    "SEARCH_SIGNING_SECRET": SECRET,
    "ADMIN_TOKEN": SECRET,
}
# The environment of a process holds no zero byte and nothing that is no text.
variables = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=30)


def load(environ: Mapping[str, str], file: str | None = None) -> Settings | ConfigError:
    """Load, and check that no fault shows a secret."""
    with tempfile.TemporaryDirectory() as folder:
        if file is not None:
            (Path(folder) / "relay.toml").write_bytes(file.encode("utf-8", "surrogatepass"))
        found: Settings | ConfigError
        try:
            found = load_settings(environ, directory=Path(folder))
        except ConfigError as error:
            found = error
    if isinstance(found, ConfigError):
        assert found.problems
        assert SECRET not in repr(found) + str(found)
    return found


@fuzzed
@given(environ=st.dictionaries(st.sampled_from(VARIABLES), variables, max_size=8))
def test_any_environment_loads_or_tells_its_faults(environ: dict[str, str]) -> None:
    assert SECRET not in repr(load({**SECRETS, **environ}))


@fuzzed
@given(
    name=st.sampled_from(VARIABLES),
    before=st.sampled_from(
        ["", "https://", "postgresql://u:", "whsec_", "sqlite:///", "${", "en-"]
    ),
    after=variables,
)
def test_no_fault_of_any_variable_shows_its_value(name: str, before: str, after: str) -> None:
    # What is no secret by its name may be shown by settings that load, but never by a fault.
    load({"WEBHOOK_SECRET": "another", name: f"{before}{SECRET}{after}"})


@fuzzed
@given(text=st.text(max_size=200))
def test_any_file_loads_or_tells_its_faults(text: str) -> None:
    assert SECRET not in repr(load(SECRETS, text))


@fuzzed
@given(
    at=st.integers(0, len(EXAMPLE)),
    length=st.integers(0, 60),
    put=st.one_of(
        st.text(max_size=10),
        st.sampled_from(
            ["\n", '"', "[[rules]]\n", "${SEARCH_KEY}", "=", "{", "]", "'''", "\ud800"]
        ),
    ),
)
def test_any_damage_to_a_file_loads_or_tells_its_faults(at: int, length: int, put: str) -> None:
    load(SECRETS, EXAMPLE[:at] + put + EXAMPLE[at + length :])


# Strings as JSON writes them are strings of TOML as well, but for halves of surrogate pairs.
_scalars = st.one_of(
    st.booleans().map(lambda value: "true" if value else "false"),
    numbers.map(lambda value: json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf")),
    st.text(max_size=20).map(json.dumps),
    st.sampled_from(
        ['"${SEARCH_KEY}"', '"${NOWHERE}"', '"$"', '"5s"', '"$.payload"', "1979-05-27"]
    ),
)
_values = st.recursive(
    _scalars,
    lambda below: st.one_of(
        st.lists(below, max_size=3).map(lambda parts: f"[{', '.join(parts)}]"),
        st.dictionaries(st.sampled_from(["schema", "path", "in", "method", "schedule"]), below).map(
            lambda parts: "{ " + ", ".join(f"{key} = {parts[key]}" for key in parts) + " }"
        ),
    ),
    max_leaves=6,
)
_KEYS = {
    "[hubs.main]": ("id", "name", "webhook_secrets", "client_id", "client_secret", "delivery"),
    "[[rules]]": ("name", "hub", "events", "where", "match", "action", "to", "locales", "depth"),
    "[destinations.search]": ("url", "method", "headers", "retry", "timeout", "rate", "body"),
}


@fuzzed
@given(data=st.data())
def test_any_value_of_any_setting_loads_or_tells_its_faults(data: Any) -> None:
    lines = []
    for table, keys in _KEYS.items():
        lines.append(table)
        given_keys = data.draw(st.sets(st.sampled_from(keys)))
        lines += [f"{key} = {data.draw(_values)}" for key in sorted(given_keys)]
    load(SECRETS, "\n".join(lines))
