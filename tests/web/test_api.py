from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import update
from standardwebhooks import Webhook

from app.config import Settings
from app.db import Storage, upgrade_schema
from app.db.tables import jobs
from app.queue import accept, claim, finish
from app.retry import Decision
from app.web import create_app
from tests.builders import make_body, make_destination, make_event, make_hub, make_settings
from tests.queue.making import forward_plan
from tests.servers import Reply, ScriptedServer
from tests.web.conftest import FakeLedger, Services

SIGNING_SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TOKEN = "the-admin-token-of-this-test"
DEAD = Decision("dead", "failed", "destination-refused", "answered 404", detail={"status": 404})


class Api:
    """The API of one service, as its operator uses it."""

    def __init__(self, storage: Storage, settings: Settings) -> None:
        self.storage = storage
        self.client: FlaskClient = create_app(
            Services(settings, FakeLedger(), storage)
        ).test_client()
        self.headers = {"Authorization": f"Bearer {TOKEN}"}

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(f"/api/v1{path}", headers=self.headers, query_string=query)

    def post(self, path: str, **body: Any) -> Any:
        return self.client.post(f"/api/v1{path}", headers=self.headers, json=body)

    def number_of(self, event_id: str) -> int:
        [event] = self.get("/events", event_id=event_id).json["events"]
        return int(event["id"])


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    storage = Storage(f"sqlite:///{tmp_path_factory.mktemp('api')}/relay.db")
    upgrade_schema(storage)
    yield Api(storage, make_settings(admin_token=TOKEN))
    storage.close()


_numbers = itertools.count(1)


@pytest.fixture
def stored(api: Api) -> Callable[..., str]:
    """Stores a snapshot.published event with a forward job; returns its id."""

    def store(*, dead: bool = False, **plan: Any) -> str:
        event_id = f"api-{next(_numbers)}"
        event = make_event("dynamic-content.snapshot.published", event_id=event_id)
        queue = f"forward:{event_id}"
        wanted = forward_plan(
            rule="forward", target="search", queue=queue, key=f"forward:search:main:{event_id}"
        )
        accept(api.storage, [(event, [replace(wanted, **plan)])])
        if dead:
            [job] = claim(api.storage, owner="worker-1", wanted={queue: 1})
            finish(api.storage, job, DEAD)
        return event_id

    return store


def test_event_is_shown_with_body_jobs_and_attempts(api: Api, stored: Callable[..., str]) -> None:
    event_id = stored(dead=True)
    shown = api.get(f"/events/{api.number_of(event_id)}").json
    [job] = shown["jobs"]
    [attempt] = job["history"]
    assert json.loads(shown["body"])["id"] == event_id
    assert (shown["event_id"], shown["hub"], shown["states"]) == (event_id, "main", {"dead": 1})
    assert (job["state"], job["reason"], job["attempts"]) == ("dead", "destination-refused", 1)
    assert (attempt["outcome"], attempt["detail"]) == ("failed", {"status": 404})
    assert shown["received_at"].endswith("Z")
    assert shown["conflicts"] == []


def test_list_goes_on_with_its_cursor_to_the_end(api: Api, stored: Callable[..., str]) -> None:
    mine = [stored(rule="cursor-rule") for _ in range(5)]
    found: list[str] = []
    query = {"limit": "2", "rule": "cursor-rule"}
    while True:
        page = api.get("/jobs", **query).json
        found += [job["event_id"] for job in page["jobs"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert found == mine[::-1]


def test_retried_job_waits_and_cancelled_job_is_cancelled(
    api: Api, stored: Callable[..., str]
) -> None:
    shown = api.get(f"/events/{api.number_of(stored(dead=True))}").json
    job = f"/jobs/{shown['jobs'][0]['id']}"
    assert api.post(f"{job}/retry").json["state"] == "waiting"
    assert api.post(f"{job}/cancel").json["state"] == "cancelled"
    assert api.get(job).json["state"] == "cancelled"
    refused = api.post(f"{job}/cancel")
    assert (refused.status_code, refused.json["reason"]) == (409, "job-done")


def test_running_job_is_refused(api: Api, stored: Callable[..., str]) -> None:
    shown = api.get(f"/events/{api.number_of(stored())}").json
    job = shown["jobs"][0]["id"]
    with api.storage.write() as connection:
        connection.execute(update(jobs).where(jobs.c.id == job).values(state="running"))
    for verb in ("retry", "cancel"):
        answer = api.post(f"/jobs/{job}/{verb}")
        assert (answer.status_code, answer.json["reason"]) == (409, "job-running")


def test_replayed_event_gets_a_new_job_and_then_keeps_it(
    api: Api, stored: Callable[..., str]
) -> None:
    number = api.number_of(stored(dead=True))
    first = api.post(f"/events/{number}/replay").json
    second = api.post(f"/events/{number}/replay").json
    assert len(first["made"]) == 1
    assert (second["made"], second["active"]) == ([], first["made"])
    replayed = api.get(f"/jobs/{first['made'][0]}").json
    assert (replayed["rule"], replayed["state"]) == ("forward", "waiting")
    assert api.get(f"/jobs/{replayed['replay_of']}").json["state"] == "superseded"


def test_retry_of_many_counts_first_and_acts_when_told(
    api: Api, stored: Callable[..., str]
) -> None:
    for _ in range(3):
        stored(dead=True, rule="many")
    dead = {"state": "dead", "rule": "many"}
    assert api.post("/jobs/retry", **dead).json == {"dry_run": True, "jobs": 3, "next": None}
    assert len(api.get("/jobs", **dead).json["jobs"]) == 3
    done = api.post("/jobs/retry", **dead, dry_run=False).json
    assert (done["jobs"], done["refused"], done["next"]) == (3, {}, None)
    assert api.get("/jobs", **dead).json["jobs"] == []


def test_replay_of_many_counts_first_and_acts_when_told(
    api: Api, stored: Callable[..., str]
) -> None:
    event_id = stored(dead=True)
    assert api.post("/events/replay", event_id=event_id).json == {
        "dry_run": True,
        "events": 1,
        "next": None,
    }
    done = api.post("/events/replay", event_id=event_id, dry_run=False).json
    assert (done["events"], done["jobs"], done["active"], done["refused"]) == (1, 1, 0, {})


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        ("/events/replay", {}, ""),
        ("/events/replay", {"dry_run": False, "limit": 5}, ""),
        ("/events/replay", {"dry_run": "false", "label": "x"}, "dry_run"),
        ("/events/replay", {"lable": "x"}, "lable"),
        ("/events/replay", {"label": "a\u0000b"}, "label"),
        ("/events/replay", {"label": "\ud800"}, "label"),
        ("/jobs/retry", {"rule": "x"}, "state"),
        ("/jobs/retry", {"state": "running"}, "state"),
        ("/destinations/search/pause", {"reason": ""}, "reason"),
    ],
)
def test_argument_that_makes_no_sense_is_named(
    api: Api, path: str, body: dict[str, Any], place: str
) -> None:
    answer = api.post(path, **body)
    assert (answer.status_code, answer.json["reason"]) == (422, "arguments-invalid")
    assert list(answer.json["fields"]) == [place]


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "201"}, {"stat": "dead"}, {"state": "done"}]
)
def test_query_that_makes_no_sense_is_refused(api: Api, query: dict[str, str]) -> None:
    assert api.get("/jobs", **query).status_code == 422


@pytest.mark.parametrize("cursor", ["x", "LTE", "MDA3", "ümlaut", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5"])
def test_cursor_of_nobody_is_refused(api: Api, cursor: str) -> None:
    assert api.get("/events", cursor=cursor).json["reason"] == "cursor-invalid"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/events/987654", "event-unknown"),
        ("/jobs/987654", "job-unknown"),
        ("/destinations/nowhere", "destination-unknown"),
        ("/events/987654/explanation", "event-unknown"),
        ("/jobs/99999999999999999999", "not-found"),
        ("/nothing", "not-found"),
    ],
)
def test_what_is_not_there_is_said_to_be_unknown(api: Api, path: str, reason: str) -> None:
    answer = api.get(path)
    assert (answer.status_code, answer.json["reason"]) == (404, reason)
    assert answer.content_type == "application/problem+json"


def test_destination_is_paused_with_a_reason_and_resumed(api: Api) -> None:
    paused = api.post("/destinations/search/pause", reason="maintenance").json
    assert (paused["paused_reason"], paused["breaker"]) == ("maintenance", "closed")
    assert paused["paused_at"]
    assert api.get("/status").json["paused"] == ["search"]
    resumed = api.post("/destinations/search/resume").json
    assert (resumed["paused_at"], resumed["paused_reason"]) == (None, None)


def test_destination_is_shown_without_the_secret_part_of_its_url(api: Api) -> None:
    [shown] = [
        one for one in api.get("/destinations").json["destinations"] if one["name"] == "search"
    ]
    assert shown["url"] == "http://127.0.0.1:9/…"
    assert shown["configured"] is True


def test_destination_that_only_the_ledger_knows_is_listed_and_can_be_resumed(
    api: Api, stored: Callable[..., str]
) -> None:
    stored(target="gone", queue="forward:gone")
    shown = api.get("/destinations/gone").json
    assert (shown["configured"], shown["url"], shown["waiting"]) == (False, None, 1)
    assert api.post("/destinations/gone/resume").status_code == 200


def test_destination_gets_a_signed_test_message(api: Api) -> None:
    replies = iter([Reply(200, b"thanks"), Reply(503)])
    server = ScriptedServer(lambda _: next(replies))
    place = make_destination(url=f"{server.url}/hook", signing_secrets=(SIGNING_SECRET,))
    other = Api(api.storage, make_settings(admin_token=TOKEN, destinations=(place,)))

    taken = other.post("/destinations/search/test").json
    refused = other.post("/destinations/search/test").json
    server.close()

    sent = server.received[0]
    assert sent.json["type"] == "dc-relay.test"
    assert Webhook(SIGNING_SECRET).verify(sent.body, dict(sent.headers)) == sent.json
    assert (taken["ok"], taken["status"], taken["answer"]) == (True, 200, "thanks")
    assert (refused["ok"], refused["status"]) == (False, 503)


def test_templated_destination_is_not_tested_by_writing_into_it(api: Api) -> None:
    place = make_destination(body='{"id": {{ item.id | tojson }}}')
    other = Api(api.storage, make_settings(admin_token=TOKEN, destinations=(place,)))
    answer = other.post("/destinations/search/test")
    assert (answer.status_code, answer.json["reason"]) == (409, "destination-templated")


def test_rules_are_shown_as_configured(api: Api) -> None:
    shown = api.get("/rules").json["rules"]
    assert [rule["action"] for rule in shown] == ["localize", "forward", "unpublish"]
    assert shown[0]["arguments"]["locales"] == ["fr-FR", "de-DE"]


def test_explain_tells_why_and_why_not_and_stores_nothing(api: Api) -> None:
    before = len(api.get("/events", limit=200).json["events"])
    body = make_body("dynamic-content.snapshot.published", event_id="explained")
    answer = api.client.post(
        "/api/v1/explain", headers=api.headers, data=body, content_type="application/json"
    ).get_json()
    assert [rule["matched"] for rule in answer["rules"]] == [False, True, False]
    assert answer["rules"][0]["condition"].startswith("name is one of")
    assert [plan["target"] for plan in answer["plans"]] == ["search"]
    assert len(api.get("/events", limit=200).json["events"]) == before


def test_explain_asks_for_the_hub_where_there_are_several(api: Api) -> None:
    hubs = (make_hub(), make_hub("outlet"))
    other = Api(api.storage, make_settings(admin_token=TOKEN, hubs=hubs))
    for path, reason in (("", "hub-missing"), ("?hub=none", "unknown-hub"), ("?hub=outlet", None)):
        answer = other.client.post(
            f"/api/v1/explain{path}", headers=other.headers, data=make_body()
        ).get_json()
        assert answer.get("reason") == reason


def test_explanation_of_a_stored_event_uses_the_rules_of_today(
    api: Api, stored: Callable[..., str]
) -> None:
    answer = api.get(f"/events/{api.number_of(stored())}/explanation").json
    assert [plan["rule"] for plan in answer["plans"]] == ["forward"]


def test_document_and_page_name_every_operation_and_need_no_internet(api: Api) -> None:
    document = api.client.get("/api/v1/openapi.json").get_json()
    page = api.client.get("/api/v1/docs").text
    assert document["openapi"] == "3.1.0"
    routes = {
        rule.rule.replace("<int(min=1, max=9007199254740991):identifier>", "{identifier}").replace(
            "<string(maxlength=200):name>", "{name}"
        )
        for rule in api.client.application.url_map.iter_rules()
        if rule.endpoint.startswith("api.")
    }
    assert set(document["paths"]) == routes
    assert all(path in page for path in routes)
    assert "src=" not in page
    assert "//" not in page.replace("<!doctype", "")
