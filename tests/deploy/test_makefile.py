from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERBS = frozenset(
    "help setup demo test quick drill fuzz bench compare docs lint format lock".split()  # noqa: SIM905
)

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make(*arguments: str, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    # What the make that may run these tests was given, it hands on to us.
    for name in ("TEST_DATABASE_URL", "TEST_ARGS", "DEMO_ARGS", "DRILL_ARGS", "BENCH_ARGS", "BASE"):
        kept.pop(name, None)
    return subprocess.run(
        ["make", *arguments],
        cwd=cwd,
        env={**kept, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A checkout that is set up, with tools that only say how they were called."""
    for name in ("Makefile", "pyproject.toml", "requirements-dev.txt"):
        shutil.copy(ROOT / name, tmp_path)
    tools = tmp_path / ".venv" / "bin"
    tools.mkdir(parents=True)
    for name in ("python", "dc-relay", "ruff", "mypy", "lint-imports"):
        tool = tools / name
        tool.write_text('#!/bin/sh\necho "called: ${0##*/} $*"\nexit "${FAIL_WITH:-0}"\n')
        tool.chmod(0o755)
    (tmp_path / ".venv" / ".installed").touch()
    return tmp_path


def calls(done: subprocess.CompletedProcess[str]) -> list[str]:
    return re.findall(r"^called: (.*?) *$", done.stdout, flags=re.MULTILINE)


def test_make_alone_lists_every_verb() -> None:
    done = make()

    listed = re.findall(r"^ +make (\w+) +\S", done.stdout, flags=re.MULTILINE)
    assert done.returncode == 0
    assert set(listed) == VERBS


def test_every_verb_is_phony() -> None:
    phony = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)

    assert set(phony[0].split()) == VERBS


@pytest.mark.parametrize("verb", ["setup", "demo", "test", "lint", "format"])
def test_on_a_fresh_clone_a_verb_first_installs_the_lock(verb: str, tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "requirements-dev.txt"):
        shutil.copy(ROOT / name, tmp_path)

    plan = make("-n", verb, cwd=tmp_path).stdout

    created = plan.index("-m venv .venv")
    installed = plan.index("--require-hashes -r requirements-dev.txt")
    ours = plan.index("--no-deps -e .")
    assert created < installed < ours


def test_set_up_once_is_set_up_until_the_lock_or_the_project_changes(clone: Path) -> None:
    assert make("-q", "setup", cwd=clone).returncode == 0

    for name in ("requirements-dev.txt", "pyproject.toml"):
        stamp = (clone / ".venv" / ".installed").stat().st_mtime
        os.utime(clone / name, (stamp + 1, stamp + 1))
        assert make("-q", "setup", cwd=clone).returncode == 1
        (clone / ".venv" / ".installed").touch()
        os.utime(clone / name, (stamp - 1, stamp - 1))


def test_verbs_side_by_side_install_once(clone: Path) -> None:
    (clone / ".venv" / ".installed").unlink()

    done = make("-j2", "lint", "test", "PYTHON=.venv/bin/python", cwd=clone)

    assert done.returncode == 0
    assert sum("--require-hashes" in call for call in calls(done)) == 1


def test_an_old_python_is_refused_with_advice(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "requirements-dev.txt"):
        shutil.copy(ROOT / name, tmp_path)
    old = tmp_path / "old-python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)

    done = make("setup", f"PYTHON={old}", cwd=tmp_path)

    assert done.returncode != 0
    assert not (tmp_path / ".venv").exists()


def test_lint_checks_style_types_and_layers(clone: Path) -> None:
    assert calls(make("lint", cwd=clone)) == [
        "ruff check",
        "ruff format --check",
        "mypy",
        "lint-imports",
    ]


@pytest.mark.parametrize("verb", ["lint", "test", "demo", "format"])
def test_a_verb_fails_when_its_tool_does(verb: str, clone: Path) -> None:
    assert make(verb, cwd=clone, FAIL_WITH="3").returncode != 0


def test_test_says_aloud_that_postgresql_is_left_out(clone: Path) -> None:
    without = make("test", cwd=clone)
    with_server = make("test", cwd=clone, TEST_DATABASE_URL="postgresql://127.0.0.1/test")

    warning = "PostgreSQL tests are skipped: set TEST_DATABASE_URL"
    assert calls(without) == calls(with_server) == ["python -m pytest -n auto"]
    assert warning in without.stderr
    assert warning not in with_server.stderr


def test_compare_passes_the_revision_on(clone: Path) -> None:
    called = calls(make("compare", "BASE=v1", "COMPARE_ARGS=--rounds 2", cwd=clone))
    assert called == ["python -m tools.benchmarks.compare v1 --rounds 2"]


def test_demo_passes_its_arguments_on(clone: Path) -> None:
    assert calls(make("demo", "DEMO_ARGS=--exit", cwd=clone)) == ["dc-relay demo --exit"]
