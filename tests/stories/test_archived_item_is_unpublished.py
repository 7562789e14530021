"""An editor archives an item, and it is gone from delivery and from the destinations."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sandbox import SandboxServer
from tests.relay import SECRET, Relay, environment, eventually, running, working
from tests.stories.editing import create, publish

RULES = """
[[rules]]
name = "drop what is archived"
events = ["dynamic-content.content-item.updated"]
where = { status = "ARCHIVED" }
action = "unpublish"
to = ["default", "second"]

[destinations.second]
url = "{{ url }}/downstream/second"
allow_private = true
retry = { schedule = ["200ms", "300ms", "500ms"], jitter = 0 }
"""


@contextmanager
def service(
    sandbox: SandboxServer, database_url: str, folder: Path, *, worker: bool = True, **changes: str
) -> Iterator[Relay]:
    """The service with a rule that unpublishes, told of what is published and archived."""
    rules = folder / "rules.toml"
    rules.write_text(RULES.replace("{{ url }}", sandbox.url))
    environ = environment(sandbox, database_url, RELAY_CONFIG=str(rules), **changes)
    with running(environ, worker=worker) as relay:
        sandbox.add_webhook(f"{relay.url}/webhooks", SECRET)
        yield relay


def published_item(sandbox: SandboxServer, relay: Relay) -> str:
    # Not in the source locale, so that nothing localizes it.
    item = create(sandbox, locale="nl-NL")
    publish(sandbox, item)
    relay.wait_for(succeeded=1, skipped=1)
    return item


def archive(sandbox: SandboxServer, item: str) -> None:
    sandbox.content.archive(item, sandbox.state.item(item).version, archived=True)


def bring_back(sandbox: SandboxServer, item: str) -> None:
    sandbox.content.archive(item, sandbox.state.item(item).version, archived=False)


def unpublishes(sandbox: SandboxServer) -> int:
    return sum(1 for call in list(sandbox.state.calls) if call.path.endswith("/unpublish"))


def kinds(sandbox: SandboxServer, name: str, at_least: int) -> list[str]:
    received = sandbox.received(name, at_least=at_least)
    return [json.loads(one.body)["type"] for one in received]


def test_archived_item_leaves_delivery_and_each_destination_is_told(
    sandbox: SandboxServer, database_url: str, tmp_path: Path
) -> None:
    with service(sandbox, database_url, tmp_path) as relay:
        item = published_item(sandbox, relay)
        archive(sandbox, item)
        relay.wait_for(succeeded=4, skipped=1)
        assert sandbox.state.item(item).publishing_status == "UNPUBLISHED"
        assert unpublishes(sandbox) == 1
        assert kinds(sandbox, "default", 2) == ["content.published", "content.deleted"]
        [told] = sandbox.received("second", at_least=1)
        message: dict[str, Any] = json.loads(told.body)
        assert message["type"] == "content.deleted"
        assert message["data"]["item"]["id"] == item
        assert message["data"]["item"]["schema"] == "https://schema-examples.com/banner"
        assert message["data"]["event"]["name"] == "dynamic-content.content-item.updated"
        assert "content" not in message["data"]


def test_item_that_was_never_published_costs_no_call(
    sandbox: SandboxServer, sqlite_url: str, tmp_path: Path
) -> None:
    with service(sandbox, sqlite_url, tmp_path) as relay:
        item = create(sandbox, locale="nl-NL")
        relay.wait_for(skipped=1)
        archive(sandbox, item)
        relay.wait_for(succeeded=3, skipped=1)
        assert unpublishes(sandbox) == 0


def test_item_that_was_brought_back_meanwhile_is_left_alone(
    sandbox: SandboxServer, sqlite_url: str, tmp_path: Path
) -> None:
    with service(sandbox, sqlite_url, tmp_path, worker=False) as relay:
        item = create(sandbox, locale="nl-NL")
        publish(sandbox, item)
        assert sandbox.settle()
        archive(sandbox, item)
        bring_back(sandbox, item)
        relay.wait_for(waiting=3)
        with working(relay.settings):
            relay.wait_for(succeeded=1, skipped=2)
        assert sandbox.state.item(item).publishing_status == "LATEST"
        assert unpublishes(sandbox) == 0


def test_unpublish_whose_answer_is_lost_is_not_made_twice(
    sandbox: SandboxServer, sqlite_url: str, tmp_path: Path
) -> None:
    with service(sandbox, sqlite_url, tmp_path) as relay:
        item = published_item(sandbox, relay)
        sandbox.faults.add(
            where="management", path="*/unpublish", kind="accept_then_fail", answer="reset", times=1
        )
        archive(sandbox, item)
        relay.wait_for(succeeded=4, skipped=1)
        assert unpublishes(sandbox) == 1


def test_missing_permission_is_retried_and_says_so(
    sandbox: SandboxServer, sqlite_url: str, tmp_path: Path
) -> None:
    with service(sandbox, sqlite_url, tmp_path) as relay:
        item = published_item(sandbox, relay)
        sandbox.faults.add(where="management", path="*/unpublish", kind="status", status=403)
        archive(sandbox, item)

        def refused() -> list[dict[str, Any]]:
            return [job for job in relay.jobs() if job["failures"] > 0]

        assert eventually(lambda: len(refused()) == 1)
        relay.wait_for(succeeded=1, skipped=1, waiting=1)
        [job] = refused()
        assert job["reason"] == "unpublish-not-permitted"
        assert "permission to publish" in job["message"]


def test_what_the_quota_does_not_allow_waits_in_the_queue(
    sandbox: SandboxServer, sqlite_url: str, tmp_path: Path
) -> None:
    with service(sandbox, sqlite_url, tmp_path, PUBLISH_QUOTA_PER_MINUTE="1") as relay:
        items = [create(sandbox, locale="nl-NL") for _ in range(2)]
        for item in items:
            publish(sandbox, item)
        relay.wait_for(succeeded=2, skipped=2)
        for item in items:
            archive(sandbox, item)
        relay.wait_for(succeeded=5, skipped=2, waiting=1)
        [waits] = [job for job in relay.jobs() if job["state"] == "waiting"]
        assert waits["reason"] == "awaiting-quota"
        assert 30_000 < waits["run_at"] - waits["started_at"] <= 80_000
        assert unpublishes(sandbox) == 1


def test_two_workers_keep_the_quota_together(
    sandbox: SandboxServer, database_url: str, tmp_path: Path
) -> None:
    few = "12"
    with service(
        sandbox, database_url, tmp_path, worker=False, PUBLISH_QUOTA_PER_MINUTE=few
    ) as relay:
        items = [create(sandbox, f"Banner {n}", locale="nl-NL") for n in range(20)]
        for item in items:
            publish(sandbox, item)
        assert sandbox.settle()
        for item in items:
            archive(sandbox, item)
        assert sandbox.settle()
        with working(relay.settings), working(relay.settings):
            assert eventually(lambda: unpublishes(sandbox) >= 12, timeout=15)
            time.sleep(1)
        # The sandbox's own log: what Amplience would have counted.
        assert unpublishes(sandbox) == 12


def test_item_that_is_published_again_is_not_dropped(
    sandbox: SandboxServer, sqlite_url: str, tmp_path: Path
) -> None:
    with service(sandbox, sqlite_url, tmp_path) as relay:
        item = published_item(sandbox, relay)
        sandbox.faults.add(
            where="downstream", path="/downstream/second", kind="status", status=503, times=1
        )
        archive(sandbox, item)
        relay.wait_for(succeeded=3, skipped=1, waiting=1)
        bring_back(sandbox, item)
        sandbox.content.publish(item)
        # The second destination takes no publishes: only the deletion that waits for it is left.
        relay.wait_for(succeeded=4, skipped=2)
        assert [one["reason"] for one in relay.jobs() if one["target"] == "second"] == [
            "published-again"
        ]
        assert kinds(sandbox, "default", 3) == [
            "content.published",
            "content.deleted",
            "content.published",
        ]
