"""Where an old version is taken after a newer one, the newest is sent again."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from pathlib import Path

from sandbox import SandboxServer
from tests.processes.conftest import MakeItems
from tests.processes.running import eventually, job_rows, outcomes, side_by_side, states
from tests.processes.trials import trial


def test_newest_version_is_sent_again_after_an_older_one_was_taken_late(
    sandbox: SandboxServer, make_items: MakeItems, database_urls: list[str], tmp_path: Path
) -> None:
    [item] = make_items(1)

    def frozen(url: str) -> None:
        with (
            trial(sandbox, url, tmp_path, slow=True) as at,
            at.worker() as worker,
            ExitStack() as stack,
        ):
            at.accept(item)
            at.await_received(1)
            at.stop(worker)
            stack.enter_context(at.worker())
            at.await_all("succeeded", 20)
            at.accept(item)
            at.await_all("succeeded", 20)
            at.downstream.answer.set()
            worker.signal(signal.SIGCONT)
            eventually(lambda: "late" in outcomes(at.storage, 1))
            eventually(lambda: states(at.storage) == ["succeeded"] * 3)
            _, newest, again = job_rows(at.storage)
            assert again["replay_of"] == newest["id"]
            assert (again["event"], again["args"]) == (newest["event"], newest["args"])

    side_by_side(frozen, database_urls)
