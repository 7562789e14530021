"""Webhooks with dates that no database gives back, or that are not yet: jobs go on as ever."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import requests
from structlog.testing import capture_logs

from app.events import SNAPSHOT_PUBLISHED, isoformat
from app.queue.operator import planner, replay_event
from app.queue.search import list_events, list_jobs, read_event
from sandbox import SandboxServer
from tests.builders import make_body, signed
from tests.relay import SECRET, Relay, environment, running
from tests.stories.editing import create, publish


@pytest.fixture
def relay(sandbox: SandboxServer, database_url: str) -> Iterator[Relay]:
    """The service, to which only the test itself sends webhooks."""
    with running(environment(sandbox, database_url)) as service:
        yield service


def post(relay: Relay, event_id: str, item: str, created: str) -> None:
    root = {"id": item}
    body = make_body(
        SNAPSHOT_PUBLISHED, event_id=event_id, createdDate=created, rootContentItem=root
    )
    answer = requests.post(
        f"{relay.url}/webhooks", data=body, headers=signed(body, SECRET), timeout=10
    )
    assert answer.status_code == 202, answer.text


def published(sandbox: SandboxServer) -> str:
    item = create(sandbox, locale="fr-FR")
    publish(sandbox, item)
    assert sandbox.settle()
    return item


@pytest.mark.parametrize(
    "created",
    [
        "9999-12-31T23:59:59.9999999Z",
        "9999-12-31T23:59:59.9995Z",
        "0001-01-01T00:00:00+23:59",
        "2999-01-01T00:00:00Z",
    ],
)
def test_an_impossible_date_is_unknown_and_its_item_is_sent(
    sandbox: SandboxServer, relay: Relay, created: str
) -> None:
    first, second = published(sandbox), published(sandbox)
    post(relay, "impossible", first, created)
    post(relay, "ordinary", second, "2025-03-03T11:00:00.000Z")
    relay.wait_for(succeeded=2)
    sent = [json.loads(one.body)["data"] for one in sandbox.received("default", at_least=2)]
    dates = {data["item"]["id"]: data["snapshot"]["createdDate"] for data in sent}
    assert dates == {first: None, second: "2025-03-03T11:00:00.000Z"}
    rows = list_events(relay.storage).rows
    assert {row.event_id: row.snapshot_created is None for row in rows} == {
        "impossible": True,
        "ordinary": False,
    }


def test_a_date_in_the_future_is_logged_and_outranks_no_later_event(
    sandbox: SandboxServer, relay: Relay
) -> None:
    item = published(sandbox)
    with capture_logs() as logs:
        post(relay, "tomorrow", item, isoformat(datetime.now(UTC) + timedelta(days=1)))
    [told] = [entry for entry in logs if entry["event"] == "webhook.future-date"]
    assert (told["event_id"], told["field"]) == ("tomorrow", "snapshot_created")
    relay.wait_for(succeeded=1)
    post(relay, "today", item, isoformat(datetime.now(UTC)))
    relay.wait_for(succeeded=2)
    # Done again when its date has come, it is as old as on the day that it was received.
    event = next(row for row in list_events(relay.storage).rows if row.event_id == "tomorrow")
    stored = read_event(relay.storage, event.id)
    replay_event(relay.storage, event.id, planner(relay.settings)(stored))
    relay.wait_for(succeeded=2, superseded=1)
    assert len(list_jobs(relay.storage).rows) == 3
