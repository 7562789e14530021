"""What is sent is the version that was published, or says that nobody knows."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.actions.forward import ForwardTiming
from sandbox import SandboxOptions, SandboxServer
from tests.relay import SECRET, Relay, environment, running, working
from tests.stories.editing import create, publish

SOON = ForwardTiming(looks=(0.02, 0.05), patience=60, sure_after=3)
NEVER_LONG = ForwardTiming(looks=(0.02, 0.05), patience=0.2, sure_after=3)
ONLY_PUBLISHED = {"events": ["dynamic-content.snapshot.published"]}
CORE = "http://bigcontent.io/cms/schema/v1/core#/definitions/"

FILE = """
[hubs.main]
id = "${AMPLIENCE_HUB_ID}"
webhook_secrets = ["${WEBHOOK_SECRET}"]
client_id = "${AMPLIENCE_CLIENT_ID}"
client_secret = "${AMPLIENCE_CLIENT_SECRET}"

[hubs.main.delivery]
url = "${CONTENT}"
verify = true
%(delivery)s

[destinations.default]
url = "${DOWNSTREAM}"
allow_private = true
concurrency = 64
retry = { schedule = ["50ms", "50ms"], jitter = 0 }

[[rules]]
name = "forward"
events = ["dynamic-content.snapshot.published"]
action = "forward"
to = ["default"]
%(rule)s
"""
FRESH = 'source = "fresh"\napi_key = "${AMPLIENCE_FRESH_API_KEY}"'


@pytest.fixture(scope="module")
def _server() -> Iterator[SandboxServer]:
    options = SandboxOptions(
        publish_delay=0.01, webhook_retry_delays=(0.1,), publish_quota_per_minute=10_000
    )
    with SandboxServer(options, port=0) as server:
        yield server


@pytest.fixture
def sandbox(_server: SandboxServer) -> SandboxServer:
    _server.reset()
    return _server


class Setting:
    """Where a test's service gets its database and its file, and what it is pointed at."""

    def __init__(self, sandbox: SandboxServer, folder: Path, database_url: str) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.database_url = database_url

    @contextmanager
    def relay(
        self,
        source: str = "fresh",
        *,
        rule: str = "",
        timing: ForwardTiming = SOON,
        **options: Any,
    ) -> Iterator[Relay]:
        """The service with proof, pulling from this source; webhooks of publishes come to it."""
        file = self.folder / "relay.toml"
        delivery = FRESH if source == "fresh" else f'source = "{source}"'
        file.write_text(FILE % {"delivery": delivery, "rule": rule})
        without = dict.fromkeys(
            ("FORWARD_URL", "FORWARD_ALLOW_PRIVATE", "LOCALIZE_LOCALES", "LOCALIZE_SOURCE_LOCALE"),
            "",
        )
        environ = environment(
            self.sandbox,
            self.database_url,
            **without,
            RELAY_CONFIG=str(file),
            CONTENT=f"{self.sandbox.url}/{source}",
            DOWNSTREAM=f"{self.sandbox.url}/downstream/default",
        )
        with running(environ, forward_timing=timing, **options) as service:
            self.sandbox.add_webhook(f"{service.url}/webhooks", SECRET, **ONLY_PUBLISHED)
            yield service


@pytest.fixture
def setting(sandbox: SandboxServer, tmp_path: Path, sqlite_url: str) -> Setting:
    return Setting(sandbox, tmp_path, sqlite_url)


@pytest.fixture
def either_setting(sandbox: SandboxServer, tmp_path: Path, database_url: str) -> Setting:
    """On SQLite, then on PostgreSQL."""
    return Setting(sandbox, tmp_path, database_url)


def envelopes(sandbox: SandboxServer, at_least: int = 1) -> list[dict[str, Any]]:
    received = sandbox.received("default", at_least=at_least)
    return [json.loads(one.body)["data"] for one in received]


def headlines(sandbox: SandboxServer, at_least: int = 1) -> list[tuple[str, bool]]:
    """What arrived: each headline, and whether it was called verified."""
    return [(e["content"]["headline"], e["verified"]) for e in envelopes(sandbox, at_least)]


def pulls(sandbox: SandboxServer) -> int:
    return sum(call.path.endswith("/content/fetch") for call in list(sandbox.state.calls))


def wait_for_pulls(sandbox: SandboxServer, count: int) -> None:
    """Wait until content was pulled so many times more."""
    enough, deadline = pulls(sandbox) + count, time.monotonic() + 5
    while pulls(sandbox) < enough:
        assert time.monotonic() < deadline, "nobody pulls"
        time.sleep(0.01)


def settled(relay: Relay) -> dict[str, int]:
    """Wait until no job is active; returns how many ended how."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        jobs = dict(relay.counts().jobs)
        if jobs and not {"waiting", "running"} & jobs.keys():
            return jobs
        time.sleep(0.02)
    raise AssertionError(f"never settles: {relay.jobs()}")


def test_what_was_published_arrives_verified(sandbox: SandboxServer, setting: Setting) -> None:
    with setting.relay() as relay:
        publish(sandbox, create(sandbox))
        relay.wait_for(succeeded=1)
    assert headlines(sandbox) == [("Spring is here", True)]


def test_old_copy_of_the_cdn_is_waited_out_though_it_is_served_once_more_after_its_time(
    sandbox: SandboxServer, setting: Setting
) -> None:
    with setting.relay("cdn") as relay:
        item = create(sandbox)
        publish(sandbox, item)
        relay.wait_for(succeeded=1)
        publish(sandbox, item, headline="Newer")
        relay.wait_for(succeeded=1, waiting=1)
        wait_for_pulls(sandbox, 3)
        sandbox.state.advance(299)
        wait_for_pulls(sandbox, 2)
        assert len(sandbox.received("default")) == 1
        before = pulls(sandbox)
        sandbox.state.advance(2)
        relay.wait_for(succeeded=2)
    assert headlines(sandbox, 2) == [("Spring is here", True), ("Newer", True)]
    assert pulls(sandbox) - before >= 2


def test_old_copy_that_stays_is_sent_with_the_truth_about_it(
    sandbox: SandboxServer, setting: Setting
) -> None:
    with setting.relay("cdn", timing=NEVER_LONG) as relay:
        item = create(sandbox)
        publish(sandbox, item)
        relay.wait_for(succeeded=1)
        publish(sandbox, item, headline="Newer")
        relay.wait_for(succeeded=2)
    assert headlines(sandbox, 2) == [("Spring is here", True), ("Spring is here", False)]


def test_newer_publish_takes_the_place_of_a_job_that_waits_for_proof(
    sandbox: SandboxServer, either_setting: Setting
) -> None:
    with either_setting.relay("cdn") as relay:
        item = create(sandbox)
        publish(sandbox, item)
        relay.wait_for(succeeded=1)
        publish(sandbox, item, headline="Second")
        relay.wait_for(succeeded=1, waiting=1)
        publish(sandbox, item, headline="Third")
        relay.wait_for(succeeded=1, superseded=1, waiting=1)
        sandbox.state.advance(301)
        relay.wait_for(succeeded=2, superseded=1)
    assert headlines(sandbox, 2)[-1] == ("Third", True)


def test_two_publishes_within_a_second_end_with_the_second(
    sandbox: SandboxServer, setting: Setting
) -> None:
    with setting.relay() as relay:
        item = create(sandbox)
        publish(sandbox, item, headline="First")
        publish(sandbox, item, headline="Second")
        assert sandbox.settle()
        settled(relay)
    arrived = headlines(sandbox)
    assert arrived[-1] == ("Second", True)
    assert arrived in (sorted(arrived), [("Second", True)])


def test_item_that_was_unpublished_at_once_is_not_sent(
    sandbox: SandboxServer, setting: Setting
) -> None:
    with setting.relay(worker=False) as relay:
        item = create(sandbox)
        publish(sandbox, item)
        assert sandbox.settle()
        sandbox.content.unpublish(item)
        with working(relay.settings, forward_timing=SOON):
            relay.wait_for(skipped=1)
        [job] = relay.jobs()
    assert job["reason"] == "unpublished-meanwhile"
    assert sandbox.received("default") == []


def test_content_that_delivery_does_not_have_at_first_is_waited_for(
    sandbox: SandboxServer, setting: Setting
) -> None:
    missing = {"responses": [{"error": {"type": "CONTENT_NOT_FOUND", "message": "Not found"}}]}
    sandbox.faults.add(where="fresh", kind="status", status=200, body=missing, times=2)
    with setting.relay() as relay:
        publish(sandbox, create(sandbox))
        relay.wait_for(succeeded=1)
        [job] = relay.jobs()
        assert relay.outcomes(job["id"]) == ["look-again", "look-again", "succeeded"]
    assert headlines(sandbox) == [("Spring is here", True)]


def test_management_api_that_is_away_for_a_moment_costs_a_moment(
    sandbox: SandboxServer, setting: Setting
) -> None:
    sandbox.faults.add(where="management", path="/snapshots/", kind="status", status=503, times=2)
    with setting.relay() as relay:
        publish(sandbox, create(sandbox))
        relay.wait_for(succeeded=1)
    assert headlines(sandbox) == [("Spring is here", True)]


def localized(**values: str) -> dict[str, Any]:
    entries = [{"locale": n.replace("_", "-"), "value": value} for n, value in values.items()]
    return {"_meta": {"schema": f"{CORE}localized-value"}, "values": entries}


@pytest.mark.parametrize(
    ("rule", "shown"),
    [
        ('locale = "fr-FR"', "Printemps"),
        ('locale = "nl-*,en-*"', "Spring"),
        ('locale = "de-DE"', None),
        ('locale = "*"\ndepth = "root"\nformat = "linked"', "Spring"),
    ],
)
def test_localized_properties_and_links_are_proven_in_the_locale_that_is_sent(
    sandbox: SandboxServer, setting: Setting, rule: str, shown: str | None
) -> None:
    with setting.relay(rule=rule) as relay:
        slide = create(sandbox, "Slide")
        link = {"_meta": {"schema": f"{CORE}content-link"}, "contentType": "x", "id": slide}
        title = localized(en_GB="Spring", fr_FR="Printemps")
        publish(sandbox, create(sandbox, headline=title, slides=[{"title": title, "item": link}]))
        relay.wait_for(succeeded=1)
    [envelope] = envelopes(sandbox)
    assert envelope["verified"] is True
    assert envelope["content"]["headline"] == shown
    assert envelope["content"]["slides"][0]["title"] == shown


def test_all_locales_are_proven_when_none_is_asked_for(
    sandbox: SandboxServer, setting: Setting
) -> None:
    with setting.relay() as relay:
        publish(sandbox, create(sandbox, headline=localized(en_GB="Spring")))
        relay.wait_for(succeeded=1)
    assert envelopes(sandbox)[0]["verified"] is True


@pytest.mark.parametrize("saved_since", [False, True])
def test_newer_version_that_a_parent_published_without_an_event_is_sent(
    sandbox: SandboxServer, setting: Setting, saved_since: bool
) -> None:
    rule = 'where = { label = "Slide" }'
    with setting.relay(rule=rule, worker=False) as relay:
        slide = create(sandbox, "Slide", headline="Old")
        link = {"_meta": {"schema": f"{CORE}content-link"}, "contentType": "x", "id": slide}
        parent = create(sandbox, "Parent", slides=[link])
        publish(sandbox, slide)
        assert sandbox.settle()
        item = sandbox.state.item(slide)
        sandbox.content.update(slide, 1, {"body": {**item.body, "headline": "New"}})
        publish(sandbox, parent)
        assert sandbox.settle()
        if saved_since:
            sandbox.content.update(slide, 2, {"body": {**item.body, "headline": "Draft"}})
        with working(relay.settings, forward_timing=NEVER_LONG):
            relay.wait_for(succeeded=1)
    assert headlines(sandbox) == [("New", not saved_since)]


def test_burst_of_publishes_shares_its_pulls(
    sandbox: SandboxServer, either_setting: Setting
) -> None:
    with either_setting.relay(worker=False) as relay:
        for number in range(60):
            publish(sandbox, create(sandbox, f"Banner {number}"))
        assert sandbox.settle()
        with working(relay.settings, forward_timing=SOON):
            relay.wait_for(succeeded=60)
    assert pulls(sandbox) <= 8
    assert len(sandbox.received("default")) == 60
