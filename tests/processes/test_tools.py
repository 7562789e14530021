"""The developers' tools, as commands: they work, and whoever ends them ends what they started."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest

from app.db import Storage
from tests.processes.running import ROOT, alive, descendants, eventually, started, states

# The service is started several times.
pytestmark = pytest.mark.timeout(300)
COMPARE = ("-m", "tools.benchmarks.compare", str(ROOT), "--store", "sqlite", "--rounds", "1")


def test_a_checkout_is_compared_with_another_one(tmp_path: Path) -> None:
    with started((*COMPARE, "--seconds", "2"), {"TMPDIR": str(tmp_path)}, tmp_path) as running:
        # 1 says that a bound does not hold, which a busy machine may cause.
        assert running.ended(280) in (0, 1)
        rows = [line for line in running.log.splitlines() if line.startswith("| ")]
    assert rows[0] == "| figure | base | here | ratio (median of pairs) | bound | ok? |"
    assert "| refused at 200/s | 0 | 0 |" in running.log
    assert len(rows) == 10
    assert not list(tmp_path.glob("dc-relay-*"))


def test_a_database_is_filled_with_finished_work(database_urls: list[str], tmp_path: Path) -> None:
    for url in database_urls:
        arguments = ("-m", "tools.benchmarks.filling", url, "1000")
        with started(arguments, {}, tmp_path) as running:
            assert running.ended(60) == 0
        storage = Storage(url)
        found = Counter(states(storage))
        storage.close()
        assert found.total() == 1100
        assert (found["dead"], found["waiting"], found["cancelled"]) == (40, 40, 60)


def test_benchmarks_that_are_ended_leave_nothing_behind(tmp_path: Path) -> None:
    arguments = (*COMPARE, "--seconds", "60")
    with started(arguments, {"TMPDIR": str(tmp_path)}, tmp_path) as running:
        # The stubs, gunicorn and its worker.
        eventually(lambda: len(descendants(running.pid)) >= 3, timeout=60)
        below = descendants(running.pid)
        running.signal(signal.SIGTERM)
        assert running.ended(60) != 0
        assert not [pid for pid in below if alive(pid)]
    assert not list(tmp_path.glob("dc-relay-*"))
