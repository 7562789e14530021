from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from app.cli import main
from app.config import ENVIRONMENT_VARIABLES

ROOT = Path(__file__).parents[2]
PROCFILE = dict(
    line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines() if line
)
APP_JSON: dict[str, Any] = json.loads((ROOT / "app.json").read_text())


def test_procfile_has_the_three_processes() -> None:
    assert PROCFILE.keys() == {"release", "web", "worker"}


@pytest.mark.parametrize("process", ["release", "worker"])
def test_procfile_names_commands_that_exist(process: str) -> None:
    # `python -m app`, not `dc-relay`: the platform installs the lock, not the project.
    python, option, module, *command = shlex.split(PROCFILE[process])

    answer = CliRunner().invoke(main, [*command, "--help"])

    assert (python, option, module) == ("python", "-m", "app")
    assert answer.exit_code == 0
    assert "Usage:" in answer.output


def test_procfile_serves_an_application_that_exists() -> None:
    *_, option, settings, application = shlex.split(PROCFILE["web"])

    assert option == "-c"
    assert find_spec(settings.removeprefix("python:")) is not None
    module, _, name = application.partition(":")
    found = find_spec(module)
    assert found is not None
    assert found.origin is not None
    # Not imported: it would build the service out of this environment.
    assert f"\n{name} = " in Path(found.origin).read_text()


def test_python_m_app_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.startswith("dc-relay")


def test_the_installed_command_is_the_same_one() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    (installed,) = entry_points(group="console_scripts", name="dc-relay")

    assert scripts == {"dc-relay": installed.value}
    assert installed.load() is main


def test_app_json_asks_for_known_settings_and_says_what_they_are() -> None:
    assert APP_JSON["env"].keys() <= set(ENVIRONMENT_VARIABLES)
    for name, variable in APP_JSON["env"].items():
        assert variable["description"], name
        assert isinstance(variable["required"], bool), name
        assert "value" not in variable, name


def test_app_json_asks_for_what_the_service_cannot_start_without() -> None:
    required = {name for name, variable in APP_JSON["env"].items() if variable["required"]}

    assert "WEBHOOK_SECRET" in required


def test_app_json_runs_every_process_that_stays() -> None:
    assert APP_JSON["formation"].keys() == PROCFILE.keys() - {"release"}
