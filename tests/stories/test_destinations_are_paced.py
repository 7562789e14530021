"""Bursts, slow and failing destinations: what waits for one holds up no other."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from app.actions.forward import ForwardTiming
from app.db import Storage
from app.db.tables import destination_states
from app.errors import StorageUnavailable
from app.queue.limits import Limits, acquire
from sandbox import SandboxServer
from tests.relay import SECRET, Relay, environment, eventually, running, working
from tests.stories.editing import create, publish

FILE = """
[destinations.one]
url = "${DOWNSTREAM}/one"
allow_private = true
timeout = "3s"
retry = { schedule = ["50ms", "50ms", "50ms", "50ms", "50ms", "50ms"], jitter = 0 }
@ONE@

[destinations.two]
url = "${DOWNSTREAM}/two"
allow_private = true
@TWO@

[[rules]]
name = "forward"
events = ["dynamic-content.snapshot.published"]
action = "forward"
to = ["one", "two"]
"""


@pytest.fixture
def environ_with(sandbox: SandboxServer, sqlite_url: str, tmp_path: Path) -> object:
    def make(one: str = "", two: str = "") -> dict[str, str]:
        file = tmp_path / "relay.toml"
        file.write_text(FILE.replace("@ONE@", one).replace("@TWO@", two))
        return environment(
            sandbox,
            sqlite_url,
            RELAY_CONFIG=str(file),
            FORWARD_URL="",
            FORWARD_ALLOW_PRIVATE="",
            LOCALIZE_LOCALES="",
            LOCALIZE_SOURCE_LOCALE="",
            DOWNSTREAM=f"{sandbox.url}/downstream",
        )

    return make


def breaker_of(relay: Relay, name: str) -> str | None:
    with relay.storage.read() as connection:
        state = select(destination_states.c.breaker).where(destination_states.c.name == name)
        return connection.execute(state).scalar_one_or_none()


def publish_many(sandbox: SandboxServer, count: int) -> None:
    for number in range(count):
        publish(sandbox, create(sandbox, f"Banner {number}"))
    assert sandbox.settle()


def test_several_publishes_within_the_window_become_one_send(
    sandbox: SandboxServer, environ_with: object
) -> None:
    with running(environ_with(one='coalesce = "800ms"')) as relay:  # type: ignore[operator]
        sandbox.add_webhook(f"{relay.url}/webhooks", SECRET)
        item = create(sandbox)
        for number in range(4):
            publish(sandbox, item, headline=f"Version {number}")
            assert sandbox.settle()
        [received] = sandbox.received("one", at_least=1)
        assert b"Version 3" in received.body
        time.sleep(0.2)
        assert len(sandbox.received("one")) == 1


def test_build_hook_is_called_once_for_many_items(
    sandbox: SandboxServer, environ_with: object
) -> None:
    build_hook = 'coalesce = "1s"\ncoalesce_over = "destination"'
    with running(environ_with(one=build_hook)) as relay:  # type: ignore[operator]
        sandbox.add_webhook(f"{relay.url}/webhooks", SECRET)
        publish_many(sandbox, 6)
        assert len(sandbox.received("two", at_least=6)) == 6
        assert len(sandbox.received("one", at_least=1)) == 1
        relay.wait_for(superseded=5, succeeded=7)


def test_hanging_destination_does_not_hold_up_the_other(
    sandbox: SandboxServer, environ_with: object
) -> None:
    with running(environ_with()) as relay:  # type: ignore[operator]
        sandbox.add_webhook(f"{relay.url}/webhooks", SECRET)
        sandbox.faults.add(where="downstream", path="/one", kind="hang", seconds=2.5, times=12)
        began = time.monotonic()
        publish_many(sandbox, 12)
        assert len(sandbox.received("two", at_least=12, timeout=4)) == 12
        assert time.monotonic() - began < 2.5


def test_concurrency_is_kept_by_two_workers(sandbox: SandboxServer, environ_with: object) -> None:
    with running(environ_with(one="concurrency = 2"), worker=False) as relay:  # type: ignore[operator]
        sandbox.add_webhook(f"{relay.url}/webhooks", SECRET)
        publish_many(sandbox, 8)
        sandbox.faults.add(where="downstream", path="/one", kind="delay", seconds=0.1)
        with working(relay.settings), working(relay.settings):
            relay.wait_for(succeeded=16)
    starts = sorted(call.time for call in list(sandbox.state.calls) if call.path.endswith("/one"))
    # Three sends of 0.1 s each cannot begin within less than that if two run at a time.
    assert all(later - sooner >= 0.09 for sooner, later in zip(starts, starts[2:], strict=False))


def test_dead_destination_is_left_alone_until_a_probe_succeeds(
    sandbox: SandboxServer, environ_with: object
) -> None:
    with running(environ_with(one="concurrency = 2")) as relay:  # type: ignore[operator]
        sandbox.add_webhook(f"{relay.url}/webhooks", SECRET)
        fault = sandbox.faults.add(where="downstream", path="/one", kind="status", status=503)
        publish_many(sandbox, 8)
        assert eventually(lambda: breaker_of(relay, "one") == "open", 20)
        relay.wait_for(succeeded=8, waiting=8)
        tried = [call for call in list(sandbox.state.calls) if call.path.endswith("/one")]
        assert 5 <= len(tried) <= 7
        sandbox.faults.remove(fault)
        with relay.storage.write() as connection:
            connection.execute(destination_states.update().values(probe_at=1))
        relay.wait_for(succeeded=16)
        with relay.storage.read() as connection:
            state = connection.execute(
                select(destination_states).where(destination_states.c.name == "one")
            ).one()
        assert (state.breaker, state.failures) == ("closed", 0)


@pytest.mark.postgres
def test_worker_that_is_stopped_within_a_claim_holds_up_nobody_for_long(
    sandbox: SandboxServer, postgres_url: str, tmp_path: Path
) -> None:
    """Its session keeps the locks of what it was claiming until the server ends it."""
    (tmp_path / "relay.toml").write_text(FILE.replace("@ONE@", "").replace("@TWO@", ""))
    environ = environment(
        sandbox,
        postgres_url,
        RELAY_CONFIG=str(tmp_path / "relay.toml"),
        FORWARD_URL="",
        FORWARD_ALLOW_PRIVATE="",
        LOCALIZE_LOCALES="",
        LOCALIZE_SOURCE_LOCALE="",
        DOWNSTREAM=f"{sandbox.url}/downstream",
    )
    with running(environ) as relay, closing(Storage(relay.settings.database_url)) as stopped:
        sandbox.add_webhook(f"{relay.url}/webhooks", SECRET)
        transaction = stopped.write()
        acquire(transaction.__enter__(), Limits("one"), count=1)
        publish_many(sandbox, 3)
        relay.wait_for(timeout=30, succeeded=6)
        with pytest.raises(StorageUnavailable):
            transaction.__exit__(None, None, None)


def test_item_that_is_not_there_does_not_keep_the_build_hook_from_being_called(
    sandbox: SandboxServer, environ_with: object
) -> None:
    environ = environ_with(one='coalesce_over = "destination"')  # type: ignore[operator]
    with running(environ, worker=False) as relay:
        sandbox.add_webhook(f"{relay.url}/webhooks", SECRET)
        for label in ("Stays", "Stays as well", "Goes", "Goes as well"):
            item = create(sandbox, label)
            publish(sandbox, item)
            assert sandbox.settle()
            if label.startswith("Goes"):
                sandbox.content.unpublish(item)
        with working(relay.settings, forward_timing=ForwardTiming(looks=(0.05,), patience=0.1)):
            [received] = sandbox.received("one", at_least=1)
    assert b"Stays as well" in received.body
