"""One snapshot with several root items: each is matched, sent and shown by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner
from sqlalchemy import select

from app.cli import main
from app.db.tables import event_items
from app.events import SNAPSHOT_PUBLISHED
from app.queue.filters import EventFilter, JobFilter
from app.queue.operator import planner, replay_event
from app.queue.retention import prune
from app.queue.search import list_events, list_jobs, read_event, show_event, show_job
from sandbox import SandboxServer
from tests.builders import make_body, signed
from tests.relay import SECRET, Relay, environment, running
from tests.stories.editing import create

RELAY_TOML = """
[hubs.main]
id = "${AMPLIENCE_HUB_ID}"
webhook_secrets = ["${WEBHOOK_SECRET}"]
client_id = "${AMPLIENCE_CLIENT_ID}"
client_secret = "${AMPLIENCE_CLIENT_SECRET}"
[hubs.main.delivery]
source = "fresh"
api_key = "${AMPLIENCE_FRESH_API_KEY}"
url = "${AMPLIENCE_DELIVERY_URL}"
verify = true
[[rules]]
name = "banners"
events = ["dynamic-content.snapshot.published"]
where = { schema = "https://schema-examples.com/banner" }
action = "forward"
to = ["default"]
[[rules]]
name = "slides"
events = ["dynamic-content.snapshot.published"]
where = { schema = "https://schema-examples.com/slide" }
action = "forward"
to = ["default"]
[destinations.default]
url = "${RECEIVER}"
allow_private = true
"""
SLIDE = {"name": "A slide", "schema": "https://schema-examples.com/slide"}


@pytest.fixture
def relay(
    sandbox: SandboxServer, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Relay]:
    """The service with a rule for banners and one for slides, registered with the sandbox."""
    path = tmp_path_factory.mktemp("settings") / "relay.toml"
    path.write_text(RELAY_TOML)
    with running(environ_of(sandbox, database_url, path)) as service:
        yield service


def environ_of(sandbox: SandboxServer, database_url: str, path: Path) -> dict[str, str]:
    environ = environment(sandbox, database_url, RELAY_CONFIG=str(path))
    environ["RECEIVER"] = environ.pop("FORWARD_URL")
    for name in ("FORWARD_ALLOW_PRIVATE", "LOCALIZE_LOCALES", "LOCALIZE_SOURCE_LOCALE"):
        del environ[name]
    return environ


def two_items(sandbox: SandboxServer) -> tuple[str, str]:
    banner = create(sandbox, "Spring banner", locale="fr-FR")
    return banner, create(sandbox, "Warm hats", locale="fr-FR", _meta=SLIDE)


def publish(sandbox: SandboxServer, *items: str) -> None:
    answer = requests.post(
        f"{sandbox.url}/sandbox/publish", json={"item_ids": list(items)}, timeout=10
    )
    assert answer.status_code == 202, answer.text


def sent_items(sandbox: SandboxServer, count: int) -> dict[str, Any]:
    received = sandbox.received("default", at_least=count)
    messages = [json.loads(one.body)["data"] for one in received]
    return {data["item"]["id"]: data for data in messages}


def test_each_item_of_a_snapshot_is_sent_with_its_own_facts(
    sandbox: SandboxServer, relay: Relay
) -> None:
    banner, slide = two_items(sandbox)
    sandbox.add_webhook(f"{relay.url}/webhooks", SECRET)
    publish(sandbox, banner, slide)
    sent = sent_items(sandbox, 2)
    relay.wait_for(succeeded=2)
    facts = {item: (data["item"]["label"], data["item"]["schema"]) for item, data in sent.items()}
    assert facts == {
        banner: ("Spring banner", "https://schema-examples.com/banner"),
        slide: ("Warm hats", "https://schema-examples.com/slide"),
    }
    assert sent[slide]["content"]["_meta"]["schema"] == "https://schema-examples.com/slide"
    # What was pulled is compared with that item of the snapshot.
    assert all(data["verified"] is True for data in sent.values())
    assert len({data["snapshot"]["id"] for data in sent.values()}) == 1


def test_an_event_and_a_job_are_found_by_the_second_item(
    sandbox: SandboxServer, relay: Relay
) -> None:
    banner, slide = two_items(sandbox)
    sandbox.add_webhook(f"{relay.url}/webhooks", SECRET)
    publish(sandbox, banner, slide)
    relay.wait_for(succeeded=2)
    for item, rule, label in ((banner, "banners", "Spring banner"), (slide, "slides", "Warm hats")):
        [event] = list_events(relay.storage, EventFilter(item_id=item)).rows
        assert show_event(relay.storage, event.id).items == (banner, slide)
        [job] = list_jobs(relay.storage, JobFilter(item_id=item)).rows
        assert (job.rule, job.item_id, job.label) == (rule, item, label)
        assert show_job(relay.storage, job.id).job.label == label
    assert list_jobs(relay.storage, JobFilter(item_id="another")).rows == ()


def test_replay_does_each_item_again_and_prune_forgets_them(
    sandbox: SandboxServer, relay: Relay
) -> None:
    banner, slide = two_items(sandbox)
    sandbox.add_webhook(f"{relay.url}/webhooks", SECRET)
    publish(sandbox, banner, slide)
    relay.wait_for(succeeded=2)
    [event] = list_events(relay.storage).rows
    plans = planner(relay.settings)(read_event(relay.storage, event.id))
    assert len(replay_event(relay.storage, event.id, plans).made) == 2
    relay.wait_for(succeeded=4)
    jobs = list_jobs(relay.storage).rows
    replayed = {job.replay_of: job.item_id for job in jobs if job.replay_of}
    assert replayed == {job.id: job.item_id for job in jobs if not job.replay_of}
    assert prune(relay.storage, older_than_ms=-60_000) == 1
    with relay.storage.read() as connection:
        assert connection.execute(select(event_items)).all() == []


ROOTS = [
    {"id": "a", "contentTypeUri": "https://schema-examples.com/banner", "label": "A"},
    {"id": "b", "contentTypeUri": "https://schema-examples.com/slide", "label": "B"},
    {"id": "a", "contentTypeUri": "https://schema-examples.com/banner", "label": "A"},
]


@pytest.mark.parametrize("single", [{}, {"rootContentItem": None}, {"rootContentItem": ROOTS[0]}])
@pytest.mark.parametrize("item", ["a", "b"])
def test_list_of_items_makes_one_job_for_each_whatever_is_beside_it(
    sandbox: SandboxServer, relay: Relay, single: dict[str, Any], item: str
) -> None:
    given = {"rootContentItem": ..., "rootContentItems": ROOTS, **single}
    body = make_body(SNAPSHOT_PUBLISHED, event_id="several", **given)
    headers = signed(body, SECRET)
    answer = requests.post(f"{relay.url}/webhooks", data=body, headers=headers, timeout=10)
    assert (answer.status_code, answer.json()["jobs"]) == (202, 2)
    again = requests.post(f"{relay.url}/webhooks", data=body, headers=headers, timeout=10)
    assert (again.status_code, again.json()["status"]) == (200, "duplicate")
    [job] = list_jobs(relay.storage, JobFilter(item_id=item)).rows
    assert job.label == item.upper()


def test_explain_tells_of_each_item(
    sandbox: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "event.json"
    path.write_bytes(make_body(SNAPSHOT_PUBLISHED, rootContentItems=ROOTS))
    settings = tmp_path / "relay.toml"
    settings.write_text(RELAY_TOML)
    environ = environ_of(sandbox, "sqlite:///never-opened.db", settings)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["explain", str(path)], env=environ)
    assert result.exit_code == 0, result.output
    assert "yes  banners, item a: forward at default" in result.output
    assert "no   banners, item b: it needs that where.schema" in result.output
    assert "yes  slides, item b: forward at default" in result.output
