"""A firewall, a gateway within a deploy or a rotated key refuses every call for a while."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sandbox import SandboxServer
from tests.relay import SECRET, Relay, environment, eventually, running
from tests.stories.editing import create, localize_requests, publish, variants

PAGE = "<html><body>Request blocked</body></html>"
FORBIDDEN = {"errors": [{"level": "ERROR", "code": "FORBIDDEN", "message": "Not now."}]}
FILE = """
[destinations.ops]
url = "${DOWNSTREAM}/ops"
allow_private = true

[alerts]
to = ["ops"]
"""


@pytest.fixture
def environ(sandbox: SandboxServer, database_url: str, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "relay.toml").write_text(FILE)
    return environment(
        sandbox,
        database_url,
        RELAY_CONFIG=str(tmp_path / "relay.toml"),
        DOWNSTREAM=f"{sandbox.url}/downstream",
    )


def refuse(sandbox: SandboxServer, where: str, status: int, body: Any = PAGE) -> None:
    sandbox.faults.add(where=where, kind="status", status=status, body=body)


def all_were_refused(relay: Relay, *, jobs: int) -> bool:
    own = [job for job in relay.jobs() if job["action"] != "alert"]
    return len(own) == jobs and all(job["failures"] > 0 for job in own)


def assert_told_once(sandbox: SandboxServer, status: int) -> None:
    [received] = sandbox.received("ops", at_least=1)
    told = json.loads(received.body)["data"]["alert"]
    assert (told["slug"], told["subject"]) == ("amplience-refusing", "main")
    assert str(status) in told["text"]


@pytest.mark.parametrize(
    ("status", "body"),
    [(400, PAGE), (401, PAGE), (403, PAGE), (403, FORBIDDEN), (404, PAGE), (404, ""), (302, PAGE)],
)
def test_jobs_survive_it_and_a_person_is_told_once(
    sandbox: SandboxServer, environ: dict[str, str], status: int, body: Any
) -> None:
    with running(environ) as relay:
        sandbox.add_webhook(f"{relay.url}/webhooks", SECRET)
        for where in ("management", "fresh"):
            refuse(sandbox, where, status, body)
        items = [create(sandbox, f"Banner {number}") for number in range(3)]
        for item in items:
            publish(sandbox, item)
        assert eventually(lambda: all_were_refused(relay, jobs=6), timeout=30)
        sandbox.faults.clear()
        # Three are localized and forwarded, their six variants skipped, and one alert is sent.
        relay.wait_for(timeout=40, succeeded=7, skipped=6)
        assert all(variants(sandbox, item) == {"fr-FR", "de-DE"} for item in items)
        assert localize_requests(sandbox) == 3
        assert len(sandbox.received("default")) == 3
        assert_told_once(sandbox, status)


@pytest.mark.parametrize("status", [400, 403, 404])
def test_jobs_survive_that_no_token_is_given(
    sandbox: SandboxServer, environ: dict[str, str], status: int
) -> None:
    with running(environ) as relay:
        sandbox.add_webhook(f"{relay.url}/webhooks", SECRET)
        refuse(sandbox, "auth", status)
        item = create(sandbox)
        assert eventually(lambda: all_were_refused(relay, jobs=1), timeout=30)
        sandbox.faults.clear()
        relay.wait_for(timeout=40, succeeded=2, skipped=2)
        assert variants(sandbox, item) == {"fr-FR", "de-DE"}
        assert_told_once(sandbox, status)


def test_archived_item_is_unpublished_after_it(
    sandbox: SandboxServer, environ: dict[str, str]
) -> None:
    rule = """
[[rules]]
name = "take off"
events = ["dynamic-content.content-item.updated"]
where = { status = "ARCHIVED" }
action = "unpublish"
"""
    Path(environ["RELAY_CONFIG"]).write_text(FILE + rule)
    only_this = {"LOCALIZE_LOCALES": "", "LOCALIZE_SOURCE_LOCALE": "", "FORWARD_URL": ""}
    with running({**environ, **only_this}) as relay:
        item = create(sandbox)
        publish(sandbox, item)
        assert sandbox.settle()
        sandbox.add_webhook(f"{relay.url}/webhooks", SECRET)
        refuse(sandbox, "management", 403)
        sandbox.content.archive(item, sandbox.state.item(item).version, archived=True)
        assert eventually(lambda: all_were_refused(relay, jobs=1), timeout=30)
        sandbox.faults.clear()
        relay.wait_for(timeout=40, succeeded=2)
        assert sandbox.state.item(item).publishing_status == "UNPUBLISHED"
        assert_told_once(sandbox, 403)


@pytest.mark.parametrize("status", [400, 409, 422])
def test_rejection_of_the_item_itself_is_dead_at_once(
    sandbox: SandboxServer, database_url: str, status: int
) -> None:
    with running(environment(sandbox, database_url)) as relay:
        sandbox.add_webhook(f"{relay.url}/webhooks", SECRET)
        error = {"level": "ERROR", "code": "LOCALE_IMMUTABLE", "message": "Not this item."}
        sandbox.faults.add(
            where="management",
            path="*/localize",
            kind="status",
            status=status,
            body={"errors": [error]},
        )
        create(sandbox)
        relay.wait_for(timeout=30, dead=1)
        [job] = relay.jobs()
        assert (job["reason"], job["attempts"]) == ("amplience-refused", 1)


def test_wrong_credentials_wait_with_the_reason_and_do_not_loop(
    sandbox: SandboxServer, environ: dict[str, str]
) -> None:
    with running({**environ, "AMPLIENCE_CLIENT_SECRET": "not-the-secret"}) as relay:
        sandbox.add_webhook(f"{relay.url}/webhooks", SECRET)
        create(sandbox)
        assert eventually(lambda: all_were_refused(relay, jobs=1), timeout=30)
        relay.wait_for(timeout=40, waiting=1, succeeded=1)
        [job] = [job for job in relay.jobs() if job["action"] == "localize"]
        assert job["reason"] == "amplience-unauthorized"
        assert "not-the-secret" not in str(relay.jobs())
        assert sandbox.state.token_requests <= job["attempts"] + 1
        assert_told_once(sandbox, 400)
