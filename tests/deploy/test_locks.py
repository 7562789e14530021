from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from app import __version__

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.txt", "requirements-extras.txt", "requirements-dev.txt")


def pins(lock: str) -> dict[str, str]:
    """Each pinned package: its version and hashes as they stand in the file."""
    blocks = re.split(r"^(?=\S)", (ROOT / lock).read_text(), flags=re.MULTILINE)
    return {block.split("==")[0]: block for block in blocks if block}


def named(requirement: str) -> str:
    return re.split(r"[\[<>=~! ;]", requirement)[0].lower()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_one_version_and_hashes(lock: str) -> None:
    assert len(pins(lock)) > 20
    for name, block in pins(lock).items():
        assert re.match(rf"{re.escape(name)}==\S+( ;.*)? \\\n", block), block
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), name


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_address(lock: str) -> None:
    content = (ROOT / lock).read_text()

    assert not re.search(r"https?:|file:|://|--index|--extra-index|--find-links|@ ", content)


def test_tests_run_on_the_very_packages_that_are_deployed() -> None:
    deployed, extended, tested = (pins(lock) for lock in LOCKS)

    assert {name: extended.get(name) for name in deployed} == deployed
    assert {name: tested.get(name) for name in extended} == extended


def test_what_the_project_asks_for_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    extras = project["optional-dependencies"]
    tools = extras.pop("dev")

    assert {named(wanted) for wanted in project["dependencies"]} <= pins("requirements.txt").keys()
    for wanted in extras.values():
        assert {named(each) for each in wanted} <= pins("requirements-extras.txt").keys()
    assert {named(wanted) for wanted in tools} <= pins("requirements-dev.txt").keys()


def test_one_version_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert project["version"] == __version__


def test_the_python_that_is_named_is_one_that_we_support() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    version = (ROOT / ".python-version").read_text().strip()

    assert project["requires-python"] == f">={version}"
    assert f"python:{version}-slim" in (ROOT / "Dockerfile").read_text()
