"""An editor creates an item, and its variants are there; whatever goes wrong in between."""

from __future__ import annotations

import pytest

from sandbox import SandboxServer
from tests.relay import SECRET, Relay, environment, running, working
from tests.stories.editing import create, localize_requests, variants


def test_new_item_gets_its_variants_and_the_variants_cause_no_loop(
    sandbox: SandboxServer, relay: Relay
) -> None:
    item = create(sandbox)
    relay.wait_for(succeeded=1, skipped=2)
    assert variants(sandbox, item) == {"fr-FR", "de-DE"}
    assert localize_requests(sandbox) == 1
    assert sandbox.settle()
    assert relay.counts().events == 3


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 503, "times": 1},
        {"kind": "reset", "times": 1},
        {"kind": "status", "status": 429, "headers": {"Retry-After": "1"}, "times": 1},
    ],
)
def test_trouble_before_the_request_is_retried(
    sandbox: SandboxServer, sqlite_url: str, fault: dict[str, object]
) -> None:
    with running(environment(sandbox, sqlite_url)) as relay:
        sandbox.add_webhook(f"{relay.url}/webhooks", SECRET)
        sandbox.faults.add(where="management", method="GET", path="/content-items/", **fault)
        item = create(sandbox)
        relay.wait_for(succeeded=1, skipped=2)
        assert variants(sandbox, item) == {"fr-FR", "de-DE"}


@pytest.mark.parametrize("answer", ["status", "reset"])
def test_request_that_was_carried_out_but_answered_badly_is_not_repeated(
    sandbox: SandboxServer, sqlite_url: str, answer: str
) -> None:
    with running(environment(sandbox, sqlite_url)) as relay:
        sandbox.add_webhook(f"{relay.url}/webhooks", SECRET)
        sandbox.faults.add(
            where="management", path="*/localize", kind="accept_then_fail", answer=answer, times=1
        )
        item = create(sandbox)
        relay.wait_for(succeeded=1, skipped=2)
        assert variants(sandbox, item) == {"fr-FR", "de-DE"}
        assert localize_requests(sandbox) == 1


def test_expired_token_is_replaced_once(sandbox: SandboxServer, sqlite_url: str) -> None:
    with running(environment(sandbox, sqlite_url)) as relay:
        sandbox.add_webhook(f"{relay.url}/webhooks", SECRET)
        create(sandbox, "First")
        relay.wait_for(succeeded=1, skipped=2)
        sandbox.state.advance(301)
        create(sandbox, "Second")
        found = relay.wait_for(succeeded=2, skipped=4)
        assert found.jobs == {"succeeded": 2, "skipped": 4}


def test_item_that_is_not_readable_at_once_is_waited_for(
    sandbox: SandboxServer, sqlite_url: str
) -> None:
    with running(environment(sandbox, sqlite_url)) as relay:
        sandbox.add_webhook(f"{relay.url}/webhooks", SECRET)
        sandbox.faults.add(
            where="management",
            method="GET",
            path="/content-items/",
            kind="status",
            status=404,
            times=2,
        )
        item = create(sandbox)
        relay.wait_for(succeeded=1, skipped=2)
        assert variants(sandbox, item) == {"fr-FR", "de-DE"}


def test_two_workers_and_a_repeated_webhook_ask_for_variants_once(
    sandbox: SandboxServer, database_url: str
) -> None:
    with running(environment(sandbox, database_url)) as relay, working(relay.settings):
        sandbox.add_webhook(f"{relay.url}/webhooks", SECRET)
        sandbox.add_webhook(f"{relay.url}/webhooks", SECRET)
        item = create(sandbox)
        relay.wait_for(succeeded=2, skipped=4)
        assert variants(sandbox, item) == {"fr-FR", "de-DE"}
        assert localize_requests(sandbox) == 1
