"""What decides the order of publishes: their arrival, and what is live when it is pulled."""

from __future__ import annotations

import json
import uuid

import pytest
import requests

from app.events import SNAPSHOT_PUBLISHED
from sandbox import SandboxServer
from tests.builders import make_body, signed
from tests.relay import SECRET, Relay, environment, running
from tests.stories.editing import create, publish


def tell(sandbox: SandboxServer, relay: Relay, item: str, created: str) -> None:
    """Post the webhook of a publish, once it is live, whose snapshot was made at `created`."""
    assert sandbox.settle()
    body = make_body(
        SNAPSHOT_PUBLISHED,
        event_id=str(uuid.uuid4()),
        createdDate=created,
        rootContentItem={"id": item},
    )
    answer = requests.post(
        f"{relay.url}/webhooks", data=body, headers=signed(body, SECRET), timeout=5
    )
    assert (answer.status_code, answer.json()["status"]) == (202, "accepted")


def headlines(sandbox: SandboxServer) -> list[str]:
    return [
        json.loads(one.body)["data"]["content"]["headline"] for one in sandbox.received("default")
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        # An edition publishes a snapshot that was made before the item was published by hand.
        ("2025-11-26T10:00:00.000Z", "2025-11-24T09:00:00.000Z"),
        # A clock that is wrong, at Amplience or in a test of somebody else's.
        ("2099-01-01T00:00:00.000Z", "2025-11-26T10:00:00.000Z"),
    ],
)
def test_publish_that_is_told_later_is_sent_whatever_its_snapshots_date(
    sandbox: SandboxServer, database_url: str, first: str, second: str
) -> None:
    with running(environment(sandbox, database_url)) as relay:
        item = create(sandbox)
        publish(sandbox, item, headline="A fix")
        tell(sandbox, relay, item, first)
        relay.wait_for(succeeded=1)
        publish(sandbox, item, headline="The campaign")
        tell(sandbox, relay, item, second)
        relay.wait_for(succeeded=2)
        assert headlines(sandbox) == ["A fix", "The campaign"]
