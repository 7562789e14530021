"""Workers that are stopped for longer than their lease, at the worst moments."""

from __future__ import annotations

import signal
import socket
import ssl
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.db import Storage, upgrade_schema
from sandbox import SandboxServer
from tests.processes.conftest import MakeItems
from tests.processes.running import (
    STOPPING_WORKER,
    eventually,
    is_stopped,
    job_rows,
    outcomes,
    side_by_side,
    started,
)
from tests.processes.trials import Downstream, trial

RULE = """
[[rules]]
name = "forward"
events = ["dynamic-content.snapshot.published"]
action = "forward"
to = [@TO@]
"""
ONE_AND_TWO = """
[destinations.one]
url = "@URL@/one"
allow_private = true

[destinations.two]
url = "@URL@/two"
allow_private = true
"""
# The time for connecting goes on while the worker is stopped.
PATIENT = """
[destinations.one]
url = "@URL@/one"
allow_private = true
timeout = "2m"
ca_file = "@CA@"
"""


class HeldHandshake(Downstream):
    """Takes messages over TLS; the first connection gets no handshake until `go_on` is set."""

    def __init__(self, pem: Path) -> None:
        self.held, self.go_on = threading.Event(), threading.Event()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pem / "server.pem", pem / "server.key")
        self._first = threading.Lock()
        super().__init__(accepting=self._accepting)
        self.url = self.url.replace("http:", "https:")

    def _accepting(self, connection: socket.socket) -> socket.socket:
        if self._first.acquire(blocking=False):
            self.held.set()
            self.go_on.wait(180)
        return self._context.wrap_socket(connection, server_side=True)

    def close(self) -> None:
        self.go_on.set()
        super().close()


@pytest.mark.postgres
def test_worker_stopped_in_a_claim_holds_up_no_other_queue_and_its_own_for_seconds(
    sandbox: SandboxServer, make_items: MakeItems, postgres_url: str, tmp_path: Path
) -> None:
    claimed, *others = make_items(3)
    storage = Storage(postgres_url)
    upgrade_schema(storage)
    storage.close()
    downstream = Downstream()
    file = (ONE_AND_TWO + RULE).replace("@URL@", downstream.url).replace("@TO@", '"one", "two"')
    with trial(sandbox, postgres_url, tmp_path, downstream=downstream, file=file) as at:
        at.accept(claimed, to="one")
        with (
            started(STOPPING_WORKER, at.environ, at.directory) as frozen,
            ExitStack() as stack,
        ):
            # Another worker would claim its job first.
            eventually(lambda: is_stopped(frozen.pid), 60)
            at.accept(*others)
            stack.enter_context(at.worker())
            at.await_all("succeeded", 30)
            assert is_stopped(frozen.pid)
        # The claim that did not commit has taken nothing.
        assert {row["attempts"] for row in job_rows(at.storage)} == {1}


def test_worker_stopped_while_it_connects_sends_nothing_once_its_lease_is_old(
    sandbox: SandboxServer,
    make_items: MakeItems,
    database_urls: list[str],
    tmp_path: Path,
    pem: Path,
) -> None:
    [item] = make_items(1)

    def stopped(url: str) -> None:
        downstream = HeldHandshake(pem)
        file = (PATIENT + RULE).replace("@URL@", downstream.url).replace("@TO@", '"one"')
        file = file.replace("@CA@", str(pem / "ca.pem"))
        with (
            trial(sandbox, url, tmp_path, downstream=downstream, file=file) as at,
            at.worker() as worker,
            ExitStack() as stack,
        ):
            [first] = at.accept(item)
            assert downstream.held.wait(20)
            at.stop(worker)
            stack.enter_context(at.worker())
            at.await_all("succeeded", 30)
            [second] = at.accept(item)
            at.await_received(2)
            at.await_all("succeeded", 30)
            worker.signal(signal.SIGCONT)
            downstream.go_on.set()
            eventually(lambda: worker.lines("attempt.lost"))
            sent = [one.json["data"]["event"]["id"] for one in downstream.received]
            assert sent == [first, second]

    side_by_side(stopped, database_urls)


def test_old_version_that_arrives_late_is_followed_by_the_newest_again(
    sandbox: SandboxServer, make_items: MakeItems, database_urls: list[str], tmp_path: Path
) -> None:
    [item] = make_items(1)

    def stopped(url: str) -> None:
        with (
            trial(sandbox, url, tmp_path, slow=True) as at,
            at.worker(lease_ms=1500) as worker,
            ExitStack() as stack,
        ):
            [old] = at.accept(item)
            at.await_received(1)
            at.stop(worker)
            stack.enter_context(at.worker(lease_ms=1500))
            at.await_all("succeeded", 30)
            [new] = at.accept(item)
            at.await_received(3)
            at.await_all("succeeded", 30)
            at.downstream.answer.set()
            worker.signal(signal.SIGCONT)
            at.await_received(4)
            at.await_all("succeeded", 30)
            sent = [one.json["data"]["event"]["id"] for one in at.downstream.received]
            assert sent == [old, old, new, new]
            first, *_ = job_rows(at.storage)
            assert outcomes(at.storage, first["id"]) == ["lost", "succeeded", "late"]

    side_by_side(stopped, database_urls)
