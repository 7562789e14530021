"""`dc-relay resync`: the destination has all that is published, and nothing that is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.db import Storage, upgrade_schema
from sandbox import SandboxServer
from tests.cli.conftest import invoke
from tests.cli.longrun import (
    AT_ONCE,
    BANNER,
    CARD,
    archive,
    create,
    publish,
    restored_logging,
    summary,
)
from tests.relay import environment, running

pytestmark = pytest.mark.usefixtures(restored_logging.__name__)

RESYNC = ("resync", "--to", "default", "--schema", BANNER, *AT_ONCE)


@pytest.fixture
def environ(sandbox: SandboxServer, database_url: str) -> dict[str, str]:
    """Both databases, with their tables."""
    storage = Storage(database_url)
    upgrade_schema(storage)
    storage.close()
    return environment(sandbox, database_url)


def received(sandbox: SandboxServer) -> list[tuple[str, str]]:
    """Type and item of what the destination got since the last look."""
    messages = [json.loads(one.body) for one in sandbox.received("default")]
    sandbox.state.downstream.clear()
    return sorted((one["type"], one["data"]["item"]["id"]) for one in messages)


def sent(*items: str) -> list[tuple[str, str]]:
    return sorted(("content.published", item) for item in items)


def test_everything_that_is_published_of_a_schema_is_sent(
    sandbox: SandboxServer, environ: dict[str, str]
) -> None:
    banners = create(sandbox, 14)
    [card, _unpublished] = [*create(sandbox, schema=CARD), *create(sandbox)]
    publish(sandbox, *banners, card)
    with running(environ):
        found = summary(*RESYNC, env=environ)
        assert found["jobs"] == {"succeeded": 14}
        assert received(sandbox) == sent(*banners)
        summary("resync", "--to", "default", "--schema", CARD, *AT_ONCE, env=environ)
        assert received(sandbox) == sent(card)


def test_what_is_published_no_more_is_removed_and_the_rest_sent_again(
    sandbox: SandboxServer, environ: dict[str, str]
) -> None:
    first, second, third = create(sandbox, 3)
    publish(sandbox, first, second, third)
    with running(environ):
        summary(*RESYNC, env=environ)
        received(sandbox)
        sandbox.content.unpublish(second)
        found = summary(*RESYNC, env=environ)
        assert found["jobs"] == {"succeeded": 3}
        assert received(sandbox) == [("content.deleted", second), *sent(first, third)]
        # Removed once; published again, it comes back.
        publish(sandbox, second)
        summary(*RESYNC, env=environ)
        assert received(sandbox) == sent(first, second, third)


def test_item_that_one_api_still_calls_published_is_not_removed(
    sandbox: SandboxServer, environ: dict[str, str]
) -> None:
    kept, hidden = create(sandbox, 2)
    publish(sandbox, kept, hidden)
    with running(environ):
        summary(*RESYNC, env=environ)
        received(sandbox)
        # Delivery has lost it; the Management API says LATEST.
        sandbox.state.published.pop(hidden)
        summary(*RESYNC, env=environ)
        assert received(sandbox) == sent(kept)


def test_gateways_not_found_removes_nothing(
    sandbox: SandboxServer, environ: dict[str, str]
) -> None:
    kept, hidden = create(sandbox, 2)
    publish(sandbox, kept, hidden)
    with running(environ):
        summary(*RESYNC, env=environ)
        received(sandbox)
        sandbox.state.published.pop(hidden)
        sandbox.faults.add(
            where="management", path=f"/content-items/{hidden}", kind="status", status=404, body="-"
        )
        assert invoke(*RESYNC, env=environ).exit_code == 1
        sandbox.faults.clear()
        assert ("content.deleted", hidden) not in received(sandbox)


def test_more_than_half_is_removed_only_on_request(
    sandbox: SandboxServer, environ: dict[str, str]
) -> None:
    items = create(sandbox, 3)
    publish(sandbox, *items)
    with running(environ):
        summary(*RESYNC, env=environ)
        received(sandbox)
        for item in items[:2]:
            sandbox.content.unpublish(item)
        stopped = invoke(*RESYNC, env=environ)
        assert stopped.exit_code == 1
        assert "2 of 3 items that were sent would be removed" in stopped.stderr
        found = summary(*RESYNC, "--remove-many", env=environ)
        assert (found["resumed"], found["jobs"]) == (True, {"succeeded": 3})
        assert received(sandbox) == [
            *sorted(("content.deleted", item) for item in items[:2]),
            *sent(items[2]),
        ]


def test_item_of_another_schema_is_never_removed(
    sandbox: SandboxServer, environ: dict[str, str]
) -> None:
    [banner, other], [card] = create(sandbox, 2), create(sandbox, schema=CARD)
    publish(sandbox, banner, other, card)
    with running(environ):
        summary(*RESYNC, "--schema", CARD, env=environ)
        received(sandbox)
        sandbox.content.unpublish(card)
        summary(*RESYNC, env=environ)
        assert received(sandbox) == sent(banner, other)


def test_dry_run_tells_what_would_be_sent_and_removed(
    sandbox: SandboxServer, environ: dict[str, str]
) -> None:
    kept, gone = create(sandbox, 2)
    publish(sandbox, kept, gone)
    with running(environ) as relay:
        summary(*RESYNC, env=environ)
        received(sandbox)
        archive(sandbox, gone)
        sandbox.content.unpublish(gone)
        before = relay.counts()
        found = summary(*RESYNC, "--dry-run", env=environ)
        assert [(one["verb"], one["id"]) for one in found["items"]] == [
            ("send", kept),
            ("remove", gone),
        ]
        assert relay.counts() == before
        assert received(sandbox) == []


PICKY = """
[destinations.default]
url = "${DOWNSTREAM}"
allow_private = true

[[rules]]
name = "picky"
events = ["dynamic-content.snapshot.published"]
where = { schema = "https://schema-examples.com/ban*" }
match = [ { path = "$.payload.comment", equal = "go" } ]
action = "forward"
to = ["default"]
"""


def test_rule_with_other_conditions_is_used_only_by_name(
    sandbox: SandboxServer, environ: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "relay.toml"
    file.write_text(PICKY)
    environ = {
        **environ,
        "RELAY_CONFIG": str(file),
        "FORWARD_URL": "",
        "FORWARD_ALLOW_PRIVATE": "",
        "DOWNSTREAM": f"{sandbox.url}/downstream/default",
    }
    items = create(sandbox)
    publish(sandbox, *items)
    refused = invoke(*RESYNC, env=environ)
    assert (refused.exit_code, "'picky'" in refused.stderr) == (2, True)
    with running(environ):
        summary(*RESYNC, "--rule", "picky", env=environ)
    assert received(sandbox) == sent(*items)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--to", "nowhere", "--schema", BANNER), "There is: default."),
        (("--to", "default", "--schema", BANNER, "--rule", "localize"), "No forward rule"),
    ],
)
def test_wrong_choice_is_a_usage_error(
    environ: dict[str, str], arguments: tuple[str, ...], says: str
) -> None:
    result = invoke("resync", *arguments, env=environ)
    assert (result.exit_code, says in result.stderr) == (2, True)
