"""A whole message to a downstream that keeps what it is sent."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from app.config import Destination
from app.destinations.message import ItemFacts, Origin, Published, content_published
from app.destinations.sending import DestinationClient
from app.errors import DestinationUnavailable
from sandbox import SandboxOptions, SandboxServer

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(SandboxOptions(), port=0) as server:
        yield server


def test_retry_carries_the_same_bytes_and_a_valid_signature(
    sandbox: SandboxServer, client: DestinationClient
) -> None:
    destination = Destination(
        name="search",
        url=f"{sandbox.url}/downstream/search",
        signing_secrets=(SECRET,),
        allow_private=True,
    )
    message = content_published(
        Origin(hub="main", event_id="e-1", event_name="dynamic-content.snapshot.published"),
        ItemFacts(id="i-1"),
        Published(content={"headline": "Frühling"}, source="fresh", verified=True),
        timestamp=datetime.now(UTC),
        webhook_id="job-1",
    )
    sandbox.faults.add(where="downstream", kind="accept_then_fail", status=503, times=1)
    with pytest.raises(DestinationUnavailable):
        client.send(destination, message, now=datetime.now(UTC))
    assert client.send(destination, message, now=datetime.now(UTC)).status == 200

    first, second = sandbox.received("search", at_least=2)
    assert first.body == second.body == message.body
    for received in (first, second):
        headers = {name.lower(): value for name, value in received.headers.items()}
        assert headers["webhook-id"] == "job-1"
        assert Webhook(SECRET).verify(received.body, headers)["type"] == "content.published"
