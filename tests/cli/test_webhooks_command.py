"""`dc-relay webhooks`: ours is made and kept as the rules need it; no other one is touched."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.amplience.management import ManagementClient
from app.config import load_settings
from app.db import Storage, upgrade_schema
from app.db.tables import jobs, webhook_events
from app.operations.missed import MissedWebhooks
from app.operations.webhook_log import read_entry
from app.queue.checkpoints import write_checkpoint
from app.queue.search import list_jobs
from sandbox import SandboxOptions, SandboxServer
from tests.cli.conftest import invoke
from tests.cli.longrun import BANNER, archive, create, publish, restored_logging
from tests.relay import SECRET, environment, running

pytestmark = pytest.mark.usefixtures(restored_logging.__name__)

URL = "https://relay.example/webhooks"
REGISTER = ("webhooks", "register", "--url", URL)


def rules_file(tmp_path: Path, rules: str) -> dict[str, str]:
    file = tmp_path / "relay.toml"
    file.write_text(
        f'[destinations.default]\nurl = "${{DOWNSTREAM}}"\nallow_private = true\n{rules}'
    )
    return {
        "RELAY_CONFIG": str(file),
        "FORWARD_URL": "",
        "FORWARD_ALLOW_PRIVATE": "",
        "LOCALIZE_LOCALES": "",
        "LOCALIZE_SOURCE_LOCALE": "",
        "DOWNSTREAM": "http://127.0.0.1:9/",
    }


def rule(action: str, event: str, where: str = "") -> str:
    more = {
        "forward": 'to = ["default"]',
        "unpublish": 'to = ["default"]',
        "localize": 'source_locale = "en-GB"\nlocales = ["fr-FR"]',
    }
    return (
        f'[[rules]]\nname = "{action}"\nevents = ["dynamic-content.{event}"]\n'
        f'action = "{action}"\n{more[action]}\n{where}\n'
    )


def ours(sandbox: SandboxServer) -> dict[str, Any]:
    [found] = [
        one for one in sandbox.state.webhooks.values() if one["label"].startswith("dc-relay (")
    ]
    return found


@pytest.fixture
def foreign(sandbox: SandboxServer) -> Iterator[list[dict[str, Any]]]:
    """Webhooks of others, also such as look a little like ours; none may change."""
    made = [
        sandbox.add_webhook("https://search.example/", "theirs", label="search index"),
        sandbox.add_webhook("https://elsewhere.example/", "theirs", label=f"dc-relay ({URL})"),
        sandbox.add_webhook(URL, "theirs", label="by hand", active=False),
        sandbox.add_webhook(URL, "theirs", label="dc-relay"),
    ]
    before = copy.deepcopy(made)
    yield made
    assert [sandbox.state.webhooks.get(one["id"]) for one in before] == before


def test_register_makes_the_webhook_that_the_rules_need(
    sandbox: SandboxServer, environ: dict[str, str], foreign: list[dict[str, Any]]
) -> None:
    result = invoke(*REGISTER, "--yes", env=environ)
    assert result.exit_code == 0, result.output
    made = [one for one in sandbox.state.webhooks.values() if one not in foreign]
    [webhook] = made
    assert webhook["label"] == f"dc-relay ({URL})"
    assert webhook["handlers"] == [URL]
    assert webhook["secret"] == SECRET
    assert webhook["active"]
    assert webhook["events"] == [
        "dynamic-content.content-item.created",
        "dynamic-content.snapshot.published",
    ]
    assert webhook["filters"] == []
    assert SECRET not in result.output


def test_register_shows_first_and_asks(sandbox: SandboxServer, environ: dict[str, str]) -> None:
    result = invoke(*REGISTER, env=environ)
    assert "events: + dynamic-content.snapshot.published" in result.output
    assert "Make it?" in result.output
    assert not sandbox.state.webhooks


def test_registering_twice_changes_nothing(
    sandbox: SandboxServer, environ: dict[str, str], foreign: list[dict[str, Any]]
) -> None:
    invoke(*REGISTER, "--yes", env=environ)
    before = copy.deepcopy(sandbox.state.webhooks)
    again = invoke(*REGISTER, env=environ)
    assert (again.exit_code, "is as it should be" in again.output) == (0, True)
    assert sandbox.state.webhooks == before
    assert not [call for call in list(sandbox.state.calls) if call.method == "PATCH"]


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"events": ["dynamic-content.content-item.assigned"]}, "events: - dynamic-content.c"),
        ({"active": False}, "active: True"),
        ({"method": "PUT"}, "method: POST"),
        ({"secret": "another"}, "secret: the first webhook secret"),
        (
            {
                "filters": [
                    {"type": "equal", "arguments": [{"jsonPath": "$.payload.id"}, {"value": "x"}]}
                ]
            },
            "filters: none",
        ),
    ],
)
def test_ours_is_brought_up_to_date(
    sandbox: SandboxServer, environ: dict[str, str], changes: dict[str, Any], shown: str
) -> None:
    invoke(*REGISTER, "--yes", env=environ)
    right = copy.deepcopy(ours(sandbox))
    ours(sandbox).update(changes)
    result = invoke(*REGISTER, "--yes", env=environ)
    assert shown in result.output
    assert "another" not in result.output
    [patched] = [call for call in list(sandbox.state.calls) if call.method == "PATCH"]
    assert isinstance(patched.json, dict)
    assert list(patched.json) == list(changes)
    assert {**ours(sandbox), "lastModifiedDate": ""} == {**right, "lastModifiedDate": ""}


@pytest.mark.parametrize(
    "reading",
    [
        {"secret": None},
        {"notifications": [{"email": "ops@example.com"}]},
        {"headers": [{"key": "X-Key", "value": "hidden", "secret": True}]},
    ],
)
def test_what_reads_back_as_null_is_no_difference(
    sandbox: SandboxServer, environ: dict[str, str], reading: dict[str, Any]
) -> None:
    invoke(*REGISTER, "--yes", env=environ)
    ours(sandbox).update(reading)
    assert "is as it should be" in invoke(*REGISTER, env=environ).output


BANNERS = f'where = {{ schema = ["{BANNER}", "https://schema-examples.com/card"] }}'


@pytest.mark.parametrize(
    ("rules", "path"),
    [
        # A filter compares one value, and a snapshot may have several root items.
        (rule("forward", "snapshot.published", BANNERS), None),
        (rule("localize", "content-item.created", BANNERS), "$.payload.body._meta.schema"),
        (
            rule("forward", "snapshot.published", BANNERS)
            + rule("localize", "content-item.created", BANNERS),
            None,
        ),
        (rule("forward", "snapshot.published", 'where = { schema = "*/banner" }'), None),
        (
            rule("localize", "content-item.created", BANNERS)
            + rule("unpublish", "content-item.updated"),
            None,
        ),
    ],
)
def test_filter_lets_through_all_that_a_rule_wants(
    sandbox: SandboxServer,
    environ: dict[str, str],
    tmp_path: Path,
    rules: str,
    path: str | None,
) -> None:
    result = invoke(*REGISTER, "--yes", env={**environ, **rules_file(tmp_path, rules)})
    assert result.exit_code == 0, result.output
    if path is None:
        assert ours(sandbox)["filters"] == []
    else:
        [made] = ours(sandbox)["filters"]
        values = [BANNER, "https://schema-examples.com/card"]
        assert made == {"type": "in", "arguments": [{"jsonPath": path}, {"value": values}]}


def test_creation_that_was_answered_5xx_is_not_made_twice(
    sandbox: SandboxServer, environ: dict[str, str]
) -> None:
    sandbox.faults.add(
        where="management", kind="accept_then_fail", method="POST", path="/webhooks", times=1
    )
    result = invoke(*REGISTER, "--yes", env=environ)
    assert (result.exit_code, len(sandbox.state.webhooks)) == (0, 1)


def test_remove_deletes_ours_and_no_other(
    sandbox: SandboxServer, environ: dict[str, str], foreign: list[dict[str, Any]]
) -> None:
    invoke(*REGISTER, "--yes", env=environ)
    invoke("webhooks", "register", "--url", "https://other.example/{hub}", "--yes", env=environ)
    invoke("webhooks", "remove", "--url", URL, "--yes", env=environ)
    left = [one for one in sandbox.state.webhooks.values() if one not in foreign]
    assert [one["handlers"] for one in left] == [["https://other.example/main"]]
    invoke("webhooks", "remove", "--yes", env=environ)
    assert len(sandbox.state.webhooks) == len(foreign)


def test_list_marks_ours(
    sandbox: SandboxServer, environ: dict[str, str], foreign: list[dict[str, Any]]
) -> None:
    invoke(*REGISTER, "--yes", env=environ)
    found = json.loads(invoke("webhooks", "list", "--json", env=environ).stdout)
    assert [one["ours"] for one in found] == [*[False] * len(foreign), True]
    lines = invoke("webhooks", "list", env=environ).stdout.splitlines()
    assert [line[0] for line in lines if not line.startswith("    ")] == [*"    ", "*"]
    assert SECRET not in "".join(lines)


@pytest.mark.parametrize("url", ["relay.example/webhooks", "ftp://relay.example/", "https://"])
def test_url_must_be_a_whole_one(environ: dict[str, str], url: str) -> None:
    assert invoke("webhooks", "register", "--url", url, env=environ).exit_code == 2


# What was missed


@pytest.fixture
def storage(database_url: str) -> Iterator[Storage]:
    opened = Storage(database_url)
    upgrade_schema(opened)
    yield opened
    opened.close()


@pytest.fixture
def missing(sandbox: SandboxServer, storage: Storage, database_url: str) -> dict[str, str]:
    """The environment of a service whose webhook leads nowhere: no try is answered."""
    nowhere = "http://127.0.0.1:9/webhooks"
    sandbox.add_webhook(nowhere, SECRET, label=f"dc-relay ({nowhere})")
    return environment(sandbox, database_url)


@pytest.fixture(scope="module")
def shared_sandbox() -> Iterator[SandboxServer]:
    """One that gives up at once, so that a webhook has failed when it has settled."""
    with SandboxServer(SandboxOptions(webhook_retry_delays=())) as server:
        yield server


def written(storage: Storage) -> set[tuple[str, str, str]]:
    """Origin, item and action of every job."""
    with storage.read() as connection:
        rows = connection.execute(
            select(webhook_events.c.origin, webhook_events.c.item_id, jobs.c.action).join(
                jobs, jobs.c.event == webhook_events.c.id
            )
        )
        return {tuple(row) for row in rows}


MISSED = ("webhooks", "missed", "--json")


def test_missed_webhooks_become_the_jobs_that_the_item_still_needs(
    sandbox: SandboxServer, missing: dict[str, str], storage: Storage
) -> None:
    created, published, withdrawn, archived = create(sandbox, 4)
    publish(sandbox, published, withdrawn)
    sandbox.content.unpublish(withdrawn)
    archive(sandbox, archived)
    assert sandbox.settle()
    found = json.loads(invoke(*MISSED, env=missing).stdout)
    assert (found["failed"], found["known"], found["unreadable"]) == (7, 0, 0)
    assert written(storage) == {
        ("missed", created, "localize"),
        ("missed", published, "localize"),
        ("missed", withdrawn, "localize"),
        ("missed", published, "forward"),
    }
    # Read again, it is all known.
    again = json.loads(invoke(*MISSED, env=missing).stdout)
    assert (again["known"], again["missed"]) == (7, [])


def test_gateways_not_found_makes_no_event_of_a_missed_webhook(
    sandbox: SandboxServer, missing: dict[str, str], storage: Storage
) -> None:
    [item] = create(sandbox)
    assert sandbox.settle()
    sandbox.faults.add(
        where="management", path="*/content-items/*", kind="status", status=404, body="<html>"
    )
    assert invoke(*MISSED, env=missing).exit_code == 1
    assert written(storage) == set()
    sandbox.faults.clear()
    invoke(*MISSED, env=missing)
    assert written(storage) == {("missed", item, "localize")}


def test_missed_snapshot_of_several_items_is_made_up_for_item_by_item(
    sandbox: SandboxServer, missing: dict[str, str], storage: Storage
) -> None:
    first, second, withdrawn = create(sandbox, 3)
    assert sandbox.settle()
    invoke(*MISSED, env=missing)
    sandbox.content.publish(first, second, withdrawn)
    assert sandbox.settle()
    sandbox.content.unpublish(withdrawn)
    invoke(*MISSED, env=missing)
    forwarded = [job.item_id for job in list_jobs(storage).rows if job.action == "forward"]
    assert sorted(filter(None, forwarded)) == sorted([first, second])


@pytest.mark.parametrize("kept", [{"until": "9999-12-31T23:59:59.999Z"}, {"until": 7}, [], "x"])
def test_mark_that_cannot_be_read_or_is_of_the_future_hides_nothing(
    sandbox: SandboxServer, missing: dict[str, str], storage: Storage, kept: Any
) -> None:
    [item] = create(sandbox)
    assert sandbox.settle()
    webhook = next(iter(sandbox.state.webhooks))
    write_checkpoint(storage, f"missed:main:{webhook}", kept)
    invoke(*MISSED, env=missing)
    assert written(storage) == {("missed", item, "localize")}


def test_dry_run_shows_what_was_missed_and_writes_nothing(
    sandbox: SandboxServer, missing: dict[str, str], storage: Storage
) -> None:
    [item] = create(sandbox)
    assert sandbox.settle()
    for _ in range(2):
        result = invoke("webhooks", "missed", "--dry-run", env=missing)
        assert f"{item}: localize" in result.stdout
        assert "1 would be recovered" in result.stdout
    assert written(storage) == set()


def test_event_that_arrived_is_not_done_again(
    sandbox: SandboxServer, storage: Storage, database_url: str
) -> None:
    environ = environment(sandbox, database_url)
    with running(environ, worker=False) as relay:
        url = f"{relay.url}/webhooks"
        webhook = sandbox.add_webhook(url, SECRET, label=f"dc-relay ({url})")
        create(sandbox)
        assert sandbox.settle()
        # It was stored, and the answer was lost.
        [request] = sandbox.state.webhook_requests
        request.status = "FAILED"
        request.attempts[-1]["status"] = None
        found = json.loads(invoke(*MISSED, env=environ).stdout)
    assert webhook["id"] == request.webhook_id
    assert (found["known"], found["missed"]) == (1, [])


def test_log_is_read_page_by_page_and_from_where_it_was_read(
    sandbox: SandboxServer, missing: dict[str, str], storage: Storage
) -> None:
    items = create(sandbox, 120)
    assert sandbox.settle()
    assert len(json.loads(invoke(*MISSED, env=missing).stdout)["missed"]) == 120
    for request in sandbox.state.webhook_requests:
        request.created -= 2 * 3600
    [late] = create(sandbox)
    assert sandbox.settle()
    found = json.loads(invoke(*MISSED, "--since", "3d", env=missing).stdout)
    assert (found["requests"], [one["item_id"] for one in found["missed"]]) == (1, [late])
    assert len(written(storage)) == len(items) + 1


def test_without_a_webhook_of_ours_there_is_no_log(
    sandbox: SandboxServer, storage: Storage, database_url: str
) -> None:
    sandbox.add_webhook("http://127.0.0.1:9/", SECRET, label="another")
    result = invoke("webhooks", "missed", env=environment(sandbox, database_url))
    assert (result.exit_code, "webhooks register" in result.stderr) == (2, True)


ENVELOPE = {"id": "e-1", "name": "dynamic-content.content-item.created", "payload": {"id": "i"}}


@pytest.mark.parametrize(
    ("entry", "outcome", "event_id"),
    [
        ({"statusCode": 200, "eventId": "e-1"}, "delivered", "e-1"),
        ({"response": {"status": 503}, "event": {"id": "e-1"}}, "failed", "e-1"),
        ({"status": "500", "payload": ENVELOPE}, "failed", "e-1"),
        ({"status": "SUCCESS"}, "delivered", None),
        ({"status": "RETRYING", "statusCode": 500}, "pending", None),
        ({"status": "FAILED", "request": {"body": json.dumps(ENVELOPE)}}, "failed", "e-1"),
        ({"data": {"event": ENVELOPE}}, "unknown", "e-1"),
        ({"request": {"body": "{not json"}, "statusCode": True}, "unknown", None),
        ({}, "unknown", None),
    ],
)
def test_entry_of_the_log_is_read_whatever_its_form(
    entry: dict[str, Any], outcome: str, event_id: str | None
) -> None:
    read = read_entry(entry)
    assert (read.outcome, read.event_id) == (outcome, event_id)


def test_schedule_makes_up_for_what_was_missed(
    sandbox: SandboxServer, missing: dict[str, str], storage: Storage
) -> None:
    [item] = create(sandbox)
    assert sandbox.settle()
    with running({**missing, "MISSED_WEBHOOKS_EVERY": "100ms"}) as relay:
        # The variants' own webhooks do not arrive either, and are found out as variants.
        relay.wait_for(succeeded=1, skipped=2)
    assert ("missed", item, "localize") in written(storage)


def test_log_that_another_process_has_just_read_is_left_alone(
    sandbox: SandboxServer, missing: dict[str, str], storage: Storage
) -> None:
    create(sandbox)
    assert sandbox.settle()
    invoke(*MISSED, env=missing)
    sandbox.state.calls.clear()
    settings = load_settings(missing)
    hub = settings.hubs[0]
    assert hub.credentials is not None
    with closing(ManagementClient(credentials=hub.credentials, hosts=settings.amplience)) as client:
        MissedWebhooks(
            storage=storage,
            client=client,
            hub=hub,
            rules=settings.rules,
            destinations=(),
            clock=time.time,
        ).read_on_schedule(every=60)
    assert not [call for call in list(sandbox.state.calls) if call.path.endswith("/requests")]
