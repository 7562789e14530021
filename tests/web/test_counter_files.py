from __future__ import annotations

from pathlib import Path

import pytest

from app.web.counter_files import PREFIX, VARIABLE, CounterDirectory, named_parent


def test_only_unused_directories_of_ours_are_removed_and_only_counters_in_them(
    tmp_path: Path,
) -> None:
    unused, kept, foreign = (tmp_path / f"{name}" for name in (f"{PREFIX}a", f"{PREFIX}b", "c"))
    elsewhere = tmp_path / "elsewhere"
    for directory in (unused, kept, foreign, elsewhere):
        directory.mkdir()
        (directory / "counter_1.db").touch()
    (kept / "notes.txt").touch()
    (tmp_path / f"{PREFIX}link").symlink_to(elsewhere)
    (tmp_path / f"{PREFIX}file").touch()

    first, second = CounterDirectory(tmp_path), CounterDirectory(tmp_path)
    (first.path / "counter_2.db").touch()

    assert not unused.exists()
    assert first.path.exists()
    assert second.path.exists()
    assert first.path != second.path
    assert [file.name for file in kept.iterdir()] == ["notes.txt"]
    assert (foreign / "counter_1.db").exists()
    assert (elsewhere / "counter_1.db").exists()
    first.remove()
    assert not first.path.exists()
    assert second.path.exists()


@pytest.mark.parametrize(
    ("environ", "parent"),
    [
        ({}, "/other"),
        ({VARIABLE: ""}, "/other"),
        ({VARIABLE: "  "}, "/other"),
        ({VARIABLE: "/a"}, "/a"),
    ],
)
def test_variable_that_is_blank_names_no_directory(environ: dict[str, str], parent: str) -> None:
    assert named_parent(environ, otherwise="/other") == Path(parent)
