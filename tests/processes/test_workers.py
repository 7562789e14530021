"""Workers that are killed, stopped, frozen or poisoned: what they held is done by another."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from pathlib import Path

from sandbox import SandboxServer
from tests.processes.conftest import MakeItems
from tests.processes.quick_worker import POISONED
from tests.processes.running import eventually, job_rows, outcomes, side_by_side, states
from tests.processes.trials import trial


def pulls(sandbox: SandboxServer) -> int:
    """How often published content was asked for."""
    return sum(1 for call in list(sandbox.state.calls) if call.where == "fresh")


def test_jobs_of_a_killed_worker_are_done_by_another_within_15_s(
    sandbox: SandboxServer, make_items: MakeItems, database_urls: list[str], tmp_path: Path
) -> None:
    items = make_items(4)

    def killed(url: str) -> None:
        with trial(sandbox, url, tmp_path, slow=True) as at, ExitStack() as stack:
            at.accept(*items)
            first = stack.enter_context(at.worker())
            at.await_received(4)  # and none is answered
            stack.enter_context(at.worker())
            first.signal(signal.SIGKILL)
            begun = time.monotonic()
            at.await_all("succeeded", 15)
            assert time.monotonic() - begun > 5  # it waited for the leases
            for row in job_rows(at.storage):
                assert outcomes(at.storage, row["id"]) == ["lost", "succeeded"]
            assert set(at.downstream.identifiers) == set(items)
            for identifiers in at.downstream.identifiers.values():
                assert len(identifiers) == 2
                assert len(set(identifiers)) == 1

    side_by_side(killed, database_urls)


def test_stopped_worker_finishes_the_job_that_runs_and_starts_no_other(
    sandbox: SandboxServer, make_items: MakeItems, database_urls: list[str], tmp_path: Path
) -> None:
    first, later = make_items(2)

    def stopped(url: str) -> None:
        with trial(sandbox, url, tmp_path, slow=True) as at, at.worker() as worker:
            at.accept(first)
            at.await_received(1)
            worker.signal(signal.SIGTERM)
            eventually(lambda: worker.lines("worker.stopping"))
            at.accept(later)
            at.downstream.answer.set()
            assert worker.ended() == 0
            assert states(at.storage) == ["succeeded", "waiting"]
            assert outcomes(at.storage, job_rows(at.storage)[0]["id"]) == ["succeeded"]
            assert list(at.downstream.identifiers) == [first]

    side_by_side(stopped, database_urls)


def test_outcome_of_a_worker_that_was_frozen_is_late_and_changes_nothing(
    sandbox: SandboxServer, make_items: MakeItems, database_urls: list[str], tmp_path: Path
) -> None:
    [item] = make_items(1)

    def frozen(url: str) -> None:
        with (
            trial(sandbox, url, tmp_path, slow=True) as at,
            at.worker(lease_ms=1500) as worker,
            ExitStack() as stack,
        ):
            at.accept(item)
            at.await_received(1)
            at.stop(worker)
            stack.enter_context(at.worker(lease_ms=1500))
            at.await_all("succeeded", 15)
            [before] = job_rows(at.storage)
            at.downstream.answer.set()
            worker.signal(signal.SIGCONT)
            eventually(lambda: "late" in outcomes(at.storage, before["id"]))
            assert outcomes(at.storage, before["id"]) == ["lost", "succeeded", "late"]
            assert job_rows(at.storage) == [before]
            [identifiers] = at.downstream.identifiers.values()
            assert len(identifiers) == 2
            assert len(set(identifiers)) == 1

    side_by_side(frozen, database_urls)


def test_worker_that_was_frozen_before_it_sent_does_not_send_any_more(
    sandbox: SandboxServer, make_items: MakeItems, database_urls: list[str], tmp_path: Path
) -> None:
    [item] = make_items(1)
    # The first pull of each trial hangs; the second one is answered at once.
    sandbox.faults.add(where="fresh", kind="delay", seconds=2, times=len(database_urls))

    def frozen(url: str) -> None:
        with (
            trial(sandbox, url, tmp_path) as at,
            at.worker(lease_ms=1500) as worker,
            ExitStack() as stack,
        ):
            at.accept(item)
            eventually(lambda: pulls(sandbox) >= len(database_urls))
            at.stop(worker)
            stack.enter_context(at.worker(lease_ms=1500))
            at.await_all("succeeded", 15)
            worker.signal(signal.SIGCONT)
            eventually(lambda: worker.lines("attempt.lost"))
            [row] = job_rows(at.storage)
            assert (row["state"], row["attempts"]) == ("succeeded", 2)
            assert outcomes(at.storage, row["id"]) == ["lost", "succeeded"]
            assert len(at.downstream.received) == 1

    side_by_side(frozen, database_urls)


def test_job_that_ends_its_process_is_dead_after_3_times_and_blocks_nobody(
    sandbox: SandboxServer, make_items: MakeItems, database_urls: list[str], tmp_path: Path
) -> None:
    poison, *others, later = make_items(5)

    def poisoned(url: str) -> None:
        with trial(sandbox, url, tmp_path) as at:
            at.accept(poison, *others)
            for _ in range(3):
                with at.worker(lease_ms=1000, POISON=poison) as worker:
                    assert worker.ended() == POISONED
            with at.worker(lease_ms=1000, POISON=poison) as worker:
                eventually(lambda: "dead" in states(at.storage))
                at.accept(later)
                eventually(lambda: states(at.storage) == ["dead", *["succeeded"] * 4])
                worker.signal(signal.SIGTERM)
                assert worker.ended() == 0
            dead = job_rows(at.storage)[0]
            assert (dead["reason"], dead["attempts"]) == ("poison", 3)
            assert outcomes(at.storage, dead["id"]) == ["lost", "lost", "lost"]
            # What ran beside it may have ended with the process, and is then sent once more.
            assert set(at.downstream.identifiers) == {*others, later}
            assert {len(set(sent)) for sent in at.downstream.identifiers.values()} == {1}

    side_by_side(poisoned, database_urls)
