"""`dc-relay demo`: whatever ends it, it takes with it what it started."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.processes.running import alive, descendants, eventually, started


@pytest.mark.parametrize(
    ("number", "when", "status"),
    [(signal.SIGTERM, "stays up until Ctrl-C", 0), (signal.SIGHUP, "publishes", 1)],
)
def test_demo_that_is_ended_leaves_nothing_behind(
    number: int, when: str, status: int, tmp_path: Path
) -> None:
    environ = {"TMPDIR": str(tmp_path)}
    with started(("-m", "app", "demo"), environ, tmp_path) as running:
        eventually(lambda: when in running.log, timeout=40)
        below = descendants(running.pid)
        assert len(below) == 4  # serve, its worker, gunicorn, and that one's worker
        running.signal(number)
        assert running.ended(30) == status
        assert not [pid for pid in below if alive(pid)]
    assert not list(tmp_path.glob("dc-relay-demo-*"))
