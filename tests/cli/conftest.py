from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from app.config import ENVIRONMENT_VARIABLES
from sandbox import SandboxOptions, SandboxServer
from tests.relay import environment


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No configuration but a test's own: neither the caller's variables nor a file nearby."""
    for name in ENVIRONMENT_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def shared_sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(SandboxOptions()) as server:
        yield server


@pytest.fixture
def sandbox(shared_sandbox: SandboxServer) -> Iterator[SandboxServer]:
    yield shared_sandbox
    shared_sandbox.faults.clear()
    shared_sandbox.reset()


@pytest.fixture
def environ(sandbox: SandboxServer, empty_sqlite_url: str) -> dict[str, str]:
    """Everything set and right; the database is not there yet."""
    return environment(sandbox, empty_sqlite_url)


def invoke(*arguments: str, env: dict[str, str] | None = None) -> Result:
    """Run `dc-relay` in this process; an exception that is no exit is the test's failure."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (env or {}).items():
            patch.setenv(name, value)
        result = CliRunner().invoke(main, arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def bare_environment() -> dict[str, str]:
    """What a process needs to start, and none of our variables."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
    return {**kept, "PYTHONPATH": str(Path(__file__).parents[2])}
