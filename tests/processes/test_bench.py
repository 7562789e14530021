"""`make bench`: whoever ends it ends what it started."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.processes.running import alive, descendants, eventually, started


def test_benchmarks_that_are_ended_leave_nothing_behind(tmp_path: Path) -> None:
    arguments = ("-m", "tools.benchmarks", "--print", "isolation")
    with started(arguments, {"TMPDIR": str(tmp_path)}, tmp_path) as running:
        # The outside world, gunicorn and its worker, and a worker of ours.
        eventually(lambda: len(descendants(running.pid)) == 4, timeout=40)
        below = descendants(running.pid)
        running.signal(signal.SIGTERM)
        assert running.ended(30) != 0
        assert not [pid for pid in below if alive(pid)]
    assert not list(tmp_path.glob("dc-relay-*"))
