"""An editor publishes, and the content reaches the destination; whatever goes wrong in between."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from sqlalchemy import select
from standardwebhooks import Webhook

from app.db.tables import destination_states
from app.events import SNAPSHOT_PUBLISHED
from sandbox import SandboxServer
from sandbox.models import Received
from tests.builders import make_body, signed
from tests.relay import SECRET, Relay, environment, eventually, running, working
from tests.stories.editing import create, publish

SIGNING_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def content_of(received: Received) -> dict[str, Any]:
    content = json.loads(received.body)["data"]["content"]
    assert isinstance(content, dict)
    return content


def test_published_item_arrives_with_what_is_known_of_it(
    sandbox: SandboxServer, relay: Relay
) -> None:
    item = create(sandbox, locale="fr-FR")
    publish(sandbox, item)
    [received] = sandbox.received("default", at_least=1)
    message = json.loads(received.body)
    assert (message["type"], message["data"]["source"]) == ("content.published", "fresh")
    assert message["data"]["hub"] == "main"
    assert message["data"]["item"]["id"] == item
    assert message["data"]["item"]["schema"] == "https://schema-examples.com/banner"
    assert message["data"]["event"]["name"] == "dynamic-content.snapshot.published"
    assert message["data"]["snapshot"]["id"]
    assert message["data"]["content"]["headline"] == "Spring is here"
    assert message["data"]["verified"] is False
    relay.wait_for(succeeded=1, skipped=1)


def test_linked_content_arrives_inlined(sandbox: SandboxServer, relay: Relay) -> None:
    slide = create(sandbox, "Slide", locale="fr-FR", headline="Warm hats")
    link = {
        "_meta": {"schema": "http://bigcontent.io/cms/schema/v1/core#/definitions/content-link"},
        "contentType": "https://schema-examples.com/banner",
        "id": slide,
    }
    carousel = create(sandbox, "Carousel", locale="fr-FR", slides=[link])
    publish(sandbox, carousel)
    [received] = sandbox.received("default", at_least=1)
    assert content_of(received)["slides"][0]["headline"] == "Warm hats"


def test_signature_is_accepted_by_the_standard_library_of_receivers(
    sandbox: SandboxServer, sqlite_url: str
) -> None:
    environ = environment(sandbox, sqlite_url, FORWARD_SIGNING_SECRET=SIGNING_SECRET)
    with running(environ) as relay:
        sandbox.add_webhook(f"{relay.url}/webhooks", SECRET)
        publish(sandbox, create(sandbox, locale="fr-FR"))
        [received] = sandbox.received("default", at_least=1)
    headers = {name.lower(): value for name, value in received.headers.items()}
    assert Webhook(SIGNING_SECRET).verify(received.body, headers)


RETRY_AT_ONCE = """
[destinations.default]
url = "${DOWNSTREAM}"
allow_private = true
timeout = "1s"
retry = { schedule = ["50ms", "50ms"], jitter = 0 }

[[rules]]
name = "forward"
events = ["dynamic-content.snapshot.published"]
action = "forward"
to = ["default"]
"""


@pytest.fixture
def impatient(sandbox: SandboxServer, sqlite_url: str, tmp_path: Any) -> dict[str, str]:
    """The environment of a service that tries three times within a moment."""
    file = tmp_path / "relay.toml"
    file.write_text(RETRY_AT_ONCE)
    return environment(
        sandbox,
        sqlite_url,
        RELAY_CONFIG=str(file),
        FORWARD_URL="",
        FORWARD_ALLOW_PRIVATE="",
        LOCALIZE_LOCALES="",
        LOCALIZE_SOURCE_LOCALE="",
        DOWNSTREAM=f"{sandbox.url}/downstream/default",
    )


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 503},
        {"kind": "status", "status": 408},
        {"kind": "status", "status": 425},
        {"kind": "status", "status": 429},
        {"kind": "reset"},
        {"kind": "hang", "seconds": 1.5},
    ],
)
def test_failed_send_is_repeated_with_the_same_bytes_and_id(
    sandbox: SandboxServer, impatient: dict[str, str], fault: dict[str, Any]
) -> None:
    with running(impatient) as relay:
        sandbox.add_webhook(f"{relay.url}/webhooks", SECRET)
        sandbox.faults.add(where="downstream", times=1, **fault)
        publish(sandbox, create(sandbox))
        relay.wait_for(succeeded=1)
        sent = [call for call in list(sandbox.state.calls) if call.where == "downstream"]
        assert len(sent) == 2
        assert sent[0].json == sent[1].json
        [job] = relay.jobs()
        assert relay.outcomes(job["id"]) == ["retry", "succeeded"]


def test_retry_after_is_honoured(sandbox: SandboxServer, impatient: dict[str, str]) -> None:
    with running(impatient) as relay:
        sandbox.add_webhook(f"{relay.url}/webhooks", SECRET)
        sandbox.faults.add(
            where="downstream", kind="status", status=429, headers={"Retry-After": "1"}, times=1
        )
        publish(sandbox, create(sandbox))
        relay.wait_for(succeeded=1)
        first, second = (call for call in list(sandbox.state.calls) if call.where == "downstream")
        assert second.time - first.time >= 1


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 422])
def test_refusal_is_dead_at_once(
    sandbox: SandboxServer, impatient: dict[str, str], status: int
) -> None:
    with running(impatient) as relay:
        sandbox.add_webhook(f"{relay.url}/webhooks", SECRET)
        sandbox.faults.add(where="downstream", kind="status", status=status)
        publish(sandbox, create(sandbox))
        relay.wait_for(dead=1)
        [job] = relay.jobs()
        assert (job["reason"], job["attempts"]) == ("destination-refused", 1)


def test_destination_that_is_gone_is_paused_and_keeps_its_queue(
    sandbox: SandboxServer, impatient: dict[str, str]
) -> None:
    with running(impatient) as relay:
        sandbox.add_webhook(f"{relay.url}/webhooks", SECRET)
        sandbox.faults.add(where="downstream", kind="status", status=410)
        publish(sandbox, create(sandbox, "First"))
        publish(sandbox, create(sandbox, "Second"))
        assert sandbox.settle()

        def reason() -> str | None:
            with relay.storage.read() as connection:
                paused = select(destination_states.c.paused_reason)
                return connection.execute(paused).scalar_one_or_none()

        assert eventually(lambda: reason() == "gone")
        relay.wait_for(waiting=2)


def test_destination_that_stays_away_ends_as_dead_after_the_last_try(
    sandbox: SandboxServer, impatient: dict[str, str]
) -> None:
    with running(impatient) as relay:
        sandbox.add_webhook(f"{relay.url}/webhooks", SECRET)
        sandbox.faults.add(where="downstream", kind="status", status=500)
        publish(sandbox, create(sandbox))
        relay.wait_for(dead=1)
        [job] = relay.jobs()
        assert (job["reason"], job["attempts"]) == ("destination-unavailable", 3)


def test_newer_publish_takes_the_place_of_a_waiting_retry(
    sandbox: SandboxServer, database_url: str
) -> None:
    with running(environment(sandbox, database_url)) as relay:
        sandbox.add_webhook(
            f"{relay.url}/webhooks", SECRET, events=["dynamic-content.snapshot.published"]
        )
        sandbox.faults.add(where="downstream", kind="status", status=503, times=1)
        item = create(sandbox)
        publish(sandbox, item)
        relay.wait_for(waiting=1)
        publish(sandbox, item, headline="Newer")
        relay.wait_for(superseded=1, succeeded=1)
        [received] = sandbox.received("default")
        assert content_of(received)["headline"] == "Newer"


def test_content_that_is_not_there_yet_is_pulled_again(
    sandbox: SandboxServer, impatient: dict[str, str]
) -> None:
    with running(impatient) as relay:
        item = create(sandbox)
        body = make_body(SNAPSHOT_PUBLISHED, rootContentItem={"id": item})
        answer = requests.post(
            f"{relay.url}/webhooks", data=body, headers=signed(body, SECRET), timeout=5
        )
        assert answer.status_code == 202
        assert eventually(lambda: "look-again" in relay.outcomes(1))
        publish(sandbox, item)
        relay.wait_for(succeeded=1)
        [received] = sandbox.received("default")
        assert content_of(received)["headline"] == "Spring is here"


def test_burst_of_publishes_shares_its_pulls(
    sandbox: SandboxServer, impatient: dict[str, str]
) -> None:
    with running(impatient, worker=False) as relay:
        sandbox.add_webhook(f"{relay.url}/webhooks", SECRET)
        for number in range(24):
            publish(sandbox, create(sandbox, f"Banner {number}"))
        assert sandbox.settle()
        with working(relay.settings):
            relay.wait_for(succeeded=24)
        pulls = sum(1 for call in list(sandbox.state.calls) if call.path.endswith("/content/fetch"))
        assert pulls < 24
        assert len(sandbox.received("default")) == 24
