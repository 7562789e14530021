"""The command itself: fast help, version, and the database's schema."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from app import __version__
from app.cli import _COMMANDS
from app.db import Storage
from app.db.migrate import current_revision
from app.db.tables import SCHEMA_REVISION
from tests.cli.conftest import bare_environment, invoke

HELP = """
import json, sys
from app.cli import main
main(["--help"], standalone_mode=False)
print(json.dumps(sorted(sys.modules)))
"""


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        env=bare_environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_help_lists_every_command_and_imports_none() -> None:
    ended = python("-c", HELP)
    assert (ended.returncode, ended.stderr) == (0, "")
    shown, _, modules = ended.stdout.rstrip().rpartition("\n")
    listed = {line.split()[0] for line in shown.split("Commands:")[1].splitlines() if line.strip()}
    assert set(_COMMANDS) <= listed
    loaded = set(json.loads(modules))
    assert "click" in loaded
    assert not loaded & {"flask", "sqlalchemy", "requests", "alembic", "marshmallow", "structlog"}
    assert not [name for name in loaded if name.startswith("app.cli.")]


@pytest.mark.parametrize("name", sorted(_COMMANDS))
def test_every_listed_command_is_there_and_explains_itself(name: str) -> None:
    result = invoke(name, "--help")
    assert result.exit_code == 0
    assert f"{name} [OPTIONS]" in result.output


def test_module_runs_as_the_command() -> None:
    ended = python("-m", "app", "--version")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == f"dc-relay, version {__version__}\n"


def test_unknown_command_is_a_usage_error() -> None:
    result = invoke("chekc")
    assert result.exit_code == 2
    assert "chekc" in result.output


@pytest.mark.parametrize(
    "words",
    [
        ("events", "list"),
        ("jobs", "retry", "1"),
        ("localize", "--schema", "*"),
        ("webhooks", "missed"),
        ("db", "upgrade"),
    ],
)
def test_database_that_is_away_is_one_line_and_exit_code_1(words: tuple[str, ...]) -> None:
    env = {
        "WEBHOOK_SECRET": "the-webhook-secret",
        "AMPLIENCE_HUB_ID": "a" * 24,
        "AMPLIENCE_PERSONAL_ACCESS_TOKEN": "amp_pat_secret",
        "LOCALIZE_LOCALES": "fr-FR",
        "LOCALIZE_SOURCE_LOCALE": "en-GB",
        "DATABASE_URL": "postgresql://user:the-password@127.0.0.1:9/name",
    }
    result = invoke(*words, env=env)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: the database failed")
    assert "the-password" not in result.stderr


def test_upgrading_twice_leaves_the_schema_as_it_is(empty_database_url: str) -> None:
    env = {
        "WEBHOOK_SECRET": "the-webhook-secret",
        "DATABASE_URL": empty_database_url,
    }
    for _ in range(2):
        result = invoke("db", "upgrade", env=env)
        assert (result.exit_code, result.output) == (
            0,
            f"The database's schema is at {SCHEMA_REVISION}.\n",
        )
    storage = Storage(empty_database_url)
    assert current_revision(storage) == SCHEMA_REVISION
    storage.close()
    assert f"schema {SCHEMA_REVISION}" in invoke("check", env=env).output
