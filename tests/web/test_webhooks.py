from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_client import REGISTRY
from sqlalchemy import select
from structlog.testing import capture_logs
from werkzeug.test import TestResponse

from app.config import ForwardSpec
from app.db.tables import jobs, webhook_events
from app.errors import WebhookRejected
from app.events import (
    CONTENT_ITEM_CREATED,
    CONTENT_ITEM_UPDATED,
    EDITION_PUBLISHED,
    KNOWN_EVENT_NAMES,
    SNAPSHOT_PUBLISHED,
)
from app.queue import Accepted
from app.signature import HEADER, sign
from app.web import MAX_BODY
from tests.builders import (
    SECRET,
    encoded,
    forward_rule,
    localize_rule,
    make_body,
    make_hub,
    make_message,
    make_settings,
    signed,
)
from tests.web.conftest import FakeLedger, Real, client_for

NewId = Callable[[], str]


def post(
    client: FlaskClient, body: bytes, *, path: str = "/webhooks", **headers: str
) -> TestResponse:
    return client.post(path, data=body, headers={**signed(body), **headers})


def assert_problem(answer: TestResponse, status: int, reason: str) -> dict[str, Any]:
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    document: dict[str, Any] = json.loads(answer.data)
    assert (document["type"], document["status"]) == ("about:blank", status)
    assert document["reason"] == reason
    assert document["title"]
    return document


def rows_of(real: Real, event_id: str) -> tuple[int, list[str]]:
    """How often the event is stored, and the targets of its jobs."""
    with real.storage.read() as connection:
        stored = connection.execute(
            select(webhook_events.c.id).where(webhook_events.c.event_id == event_id)
        ).scalars()
        ids = stored.all()
        targets = connection.execute(select(jobs.c.target).where(jobs.c.event.in_(ids))).scalars()
        return len(ids), list(targets)


def test_accepted_event_is_stored_with_its_jobs(real: Real, new_id: NewId) -> None:
    rule = forward_rule(action=ForwardSpec(to=("search", "erp")))
    client = client_for(real.ledger, make_settings(rules=(rule,)))
    event_id = new_id()
    answer = post(client, make_body(SNAPSHOT_PUBLISHED, event_id=event_id))
    assert answer.status_code == 202
    assert answer.content_type == "application/json"
    assert answer.json == {"id": event_id, "status": "accepted", "jobs": 2}
    assert rows_of(real, event_id) == (1, ["search", "erp"])


@pytest.mark.parametrize("name", sorted(KNOWN_EVENT_NAMES))
def test_every_known_event_is_taken_and_stored(
    real: Real, client: FlaskClient, new_id: NewId, name: str
) -> None:
    event_id = new_id()
    answer = post(client, make_body(name, event_id=event_id))
    wanted = name in {CONTENT_ITEM_CREATED, CONTENT_ITEM_UPDATED, SNAPSHOT_PUBLISHED}
    assert answer.status_code == 202
    assert answer.json == {
        "id": event_id,
        "status": "accepted" if wanted else "ignored",
        "jobs": int(wanted),
    }
    assert rows_of(real, event_id)[0] == 1


def test_unknown_event_name_is_stored_and_ignored(
    real: Real, client: FlaskClient, new_id: NewId
) -> None:
    message = {"id": new_id(), "name": "dynamic-content.hub.renamed", "payload": {"id": "1"}}
    answer = post(client, encoded(message))
    assert answer.status_code == 202
    assert answer.json == {"id": message["id"], "status": "ignored", "jobs": 0}
    assert rows_of(real, str(message["id"])) == (1, [])


def test_event_that_no_rule_wants_is_stored_and_ignored(real: Real, new_id: NewId) -> None:
    client = client_for(real.ledger, make_settings(rules=()))
    event_id = new_id()
    answer = post(client, make_body(event_id=event_id))
    assert (answer.status_code, answer.json) == (
        202,
        {"id": event_id, "status": "ignored", "jobs": 0},
    )
    assert rows_of(real, event_id) == (1, [])


@pytest.mark.parametrize(
    "changes", [{}, {"sequenceId": 2, "requestId": "another"}, {"sequenceId": None}]
)
def test_duplicate_event_adds_no_job(
    real: Real, client: FlaskClient, new_id: NewId, changes: dict[str, Any]
) -> None:
    message = make_message(event_id=new_id())
    post(client, encoded(message))
    answer = post(client, encoded({**message, **changes}))
    assert answer.status_code == 200
    assert answer.json == {"id": message["id"], "status": "duplicate", "jobs": 0}
    assert rows_of(real, message["id"]) == (1, ["main"])


def test_known_id_with_another_payload_is_a_conflict_and_adds_no_job(
    real: Real, client: FlaskClient, new_id: NewId
) -> None:
    event_id = new_id()
    post(client, make_body(event_id=event_id))
    answer = post(client, make_body(event_id=event_id, label="Another"))
    assert_problem(answer, 409, "id-conflict")
    assert rows_of(real, event_id) == (1, ["main"])


def test_one_id_on_two_hubs_is_two_events(real: Real, new_id: NewId) -> None:
    client = client_for(real.ledger, make_settings(hubs=(make_hub("uk"), make_hub("us"))))
    body = make_body(event_id=new_id())
    for path in ("/webhooks/uk", "/webhooks/us"):
        assert post(client, body, path=path).status_code == 202


# Size


def padded(size: int) -> bytes:
    body = make_body(SNAPSHOT_PUBLISHED)
    return body + b" " * (size - len(body))


def test_body_of_exactly_one_mebibyte_is_taken() -> None:
    assert MAX_BODY == 1_048_576
    ledger = FakeLedger()
    assert post(client_for(ledger), padded(MAX_BODY)).status_code == 202
    assert len(ledger.accepted[0][0].body) == MAX_BODY


def test_body_of_one_byte_more_is_too_large() -> None:
    answer = post(client_for(FakeLedger()), padded(MAX_BODY + 1))
    assert_problem(answer, 413, "body-too-large")


@pytest.mark.parametrize("method", ["POST", "PUT", "GET"])
def test_size_comes_before_method_type_and_signature(method: str) -> None:
    body = b"x" * (MAX_BODY + 1)
    answer = client_for(FakeLedger()).open("/webhooks", method=method, data=body)
    assert_problem(answer, 413, "body-too-large")


class BrokenInput(io.RawIOBase):
    """What a server gives for a body that it cannot go on reading; gunicorn's is no OSError."""

    def readable(self) -> bool:
        return True

    def readinto(self, _buffer: Any) -> int:
        raise LookupError("invalid chunk")


@pytest.mark.parametrize("stream", [BrokenInput(), io.BytesIO(make_body()[:100])])
def test_body_that_breaks_off_is_refused_as_such(stream: io.IOBase) -> None:
    ledger = FakeLedger()
    answer = client_for(ledger).post(
        "/webhooks",
        headers=signed(make_body()),
        environ_overrides={
            "wsgi.input": stream,
            "wsgi.input_terminated": True,
            "CONTENT_LENGTH": str(len(make_body())),
        },
    )
    assert_problem(answer, 400, "body-unreadable")
    assert ledger.accepted == []


# Method and content type


@pytest.mark.parametrize("path", ["/webhooks", "/webhooks/main"])
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_other_methods_are_told_the_right_one(path: str, method: str) -> None:
    body = make_body()
    answer = client_for(FakeLedger()).open(path, method=method, data=body, headers=signed(body))
    assert_problem(answer, 405, "method-not-allowed")
    assert set(answer.allow) == {"POST", "OPTIONS"}


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "Application/JSON",
        "application/vnd.amplience+json",
        "application/cloudevents+json; charset=utf-8",
    ],
)
def test_json_content_types_are_taken(content_type: str) -> None:
    answer = post(client_for(FakeLedger()), make_body(), **{"Content-Type": content_type})
    assert answer.status_code == 202


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "+json",
    ],
)
def test_other_content_types_are_refused_before_the_signature(content_type: str) -> None:
    client = client_for(FakeLedger())
    answer = client.post("/webhooks", data=b"{}", headers={"Content-Type": content_type})
    assert_problem(answer, 415, "content-type-unsupported")


# Signature

WRONG = sign(b"something else", SECRET)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "signature-missing"),
        ({HEADER: ""}, "signature-missing"),
        ({HEADER: "nonsense"}, "signature-malformed"),
        ({HEADER: "sha256=" + WRONG}, "signature-malformed"),
        ({HEADER: WRONG}, "signature-mismatch"),
        ({HEADER: sign(b"not json", "other")}, "signature-mismatch"),
    ],
)
def test_unproven_sender_is_refused_before_the_body_is_parsed(
    headers: dict[str, str], reason: str
) -> None:
    ledger = FakeLedger()
    answer = client_for(ledger).post(
        "/webhooks", data=b"not json", headers={"Content-Type": "application/json", **headers}
    )
    assert_problem(answer, 401, reason)
    assert ledger.accepted == []


@pytest.mark.parametrize(
    ("secret", "status"), [("new", 202), ("old", 202), ("older", 401), ("", 401), ("new,old", 401)]
)
def test_any_current_secret_opens_while_rotating(secret: str, status: int) -> None:
    settings = make_settings(hubs=(make_hub(webhook_secrets=("new", "old")),))
    body = make_body()
    answer = client_for(FakeLedger(), settings).post(
        "/webhooks", data=body, headers=signed(body, secret)
    )
    assert answer.status_code == status


def test_hub_without_secret_lets_nobody_in() -> None:
    settings = make_settings(hubs=(make_hub(webhook_secrets=()),))
    body = make_body()
    answer = client_for(FakeLedger(), settings).post(
        "/webhooks", data=body, headers=signed(body, "")
    )
    assert_problem(answer, 401, "signature-no-secret")


def test_header_name_in_any_case() -> None:
    body = make_body()
    headers = {"content-type": "application/json", HEADER.lower(): sign(body, SECRET)}
    assert client_for(FakeLedger()).post("/webhooks", data=body, headers=headers).status_code == 202


@pytest.mark.parametrize(
    ("secret", "body", "signature", "reason"),
    [
        (
            "0123456789abcdefghijklmnopqrstvwxyz",
            b"lorem ipsum dolor sit amet",
            "0uD9U0hFYdowxDkKvLQtP45lcXs8q2EFvXgh1ioWfkU=",
            "body-not-json",
        ),
        (
            "webhook-secret",
            b"{}",
            "ONeVHNAuqxtU0ODkJXwnnWQGIJYeHEOBiLwlLzxnMts=",
            "envelope-missing",
        ),
        (
            "webhook-secret",
            '{"label":"café"}'.encode(),
            "+ndIwoHNUy/z96s9fO2i2NnmZa+dGBr7/YFPyftEXOo=",
            "envelope-missing",
        ),
    ],
)
def test_published_signature_vectors_pass_the_signature(
    secret: str, body: bytes, signature: str, reason: str
) -> None:
    settings = make_settings(hubs=(make_hub(webhook_secrets=(secret,)),))
    answer = client_for(FakeLedger(), settings).post(
        "/webhooks", data=body, headers={"Content-Type": "application/json", HEADER: signature}
    )
    assert_problem(answer, 400, reason)


# JSON, envelope, schema


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\xff", "body-not-utf8"),
        (b"", "body-not-json"),
        (b'{"id": NaN}', "body-not-json"),
        (b'{"id": "a", "id": "b"}', "body-not-json"),
        (b"9" * 10_000, "body-not-json"),
        (b"[" * 100_000 + b"]" * 100_000, "body-too-deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "body-too-deep"),
        (b"[" * MAX_BODY, "body-too-deep"),
        (b'{"headline": "Autumn is here"}', "envelope-missing"),
        (b"[]", "envelope-missing"),
    ],
    ids=lambda value: value[:30].decode("latin-1") if isinstance(value, bytes) else None,
)
def test_signed_nonsense_is_refused_with_400(body: bytes, reason: str) -> None:
    ledger = FakeLedger()
    assert_problem(post(client_for(ledger), body), 400, reason)
    assert ledger.accepted == []


def test_custom_payload_is_explained() -> None:
    document = assert_problem(
        post(client_for(FakeLedger()), b'{"headline": "x"}'), 400, "envelope-missing"
    )
    assert "custom payload" in document["detail"].lower()


def test_event_without_what_a_job_needs_is_refused_with_its_fields() -> None:
    body = make_body(SNAPSHOT_PUBLISHED, rootContentItem={"label": "no id"}, id=7)
    document = assert_problem(post(client_for(FakeLedger()), body), 422, "payload-invalid")
    assert set(document["fields"]) == {"payload.id", "payload.rootContentItem.id"}


def test_event_that_the_database_cannot_hold_is_refused() -> None:
    refusal = WebhookRejected(status=422, reason="event-not-storable", detail="too long")
    answer = post(client_for(FakeLedger(error=refusal)), make_body())
    assert_problem(answer, 422, "event-not-storable")


def test_lone_surrogates_are_stored(real: Real, client: FlaskClient, new_id: NewId) -> None:
    event_id = new_id()
    body = make_body(event_id=event_id, label="half \ud800 \0", locale="\udfff")
    assert post(client, body).status_code == 202
    assert rows_of(real, event_id)[0] == 1
    assert post(client, body).status_code == 200


# Hubs


def test_hub_is_found_by_its_key() -> None:
    ledger = FakeLedger()
    hubs = (make_hub("uk", webhook_secrets=("uk",)), make_hub("us", webhook_secrets=("us",)))
    client = client_for(ledger, make_settings(hubs=hubs))
    body = make_body()
    assert client.post("/webhooks/us", data=body, headers=signed(body, "us")).status_code == 202
    assert client.post("/webhooks/us", data=body, headers=signed(body, "uk")).status_code == 401
    assert [event.hub for event, _ in ledger.accepted] == ["us"]


def test_several_hubs_need_their_key_in_the_path() -> None:
    client = client_for(FakeLedger(), make_settings(hubs=(make_hub("uk"), make_hub("us"))))
    document = assert_problem(post(client, make_body()), 404, "hub-missing")
    assert "/webhooks/{hub}" in document["detail"]
    assert "uk" not in document["detail"]


def test_one_hub_needs_no_key_but_may_have_it() -> None:
    client = client_for(FakeLedger())
    assert post(client, make_body()).status_code == 202
    assert post(client, make_body(), path="/webhooks/main").status_code == 202


@pytest.mark.parametrize("key", ["nobody", "MAIN", "%00", "main%20"])
def test_unknown_hub_tells_nothing_of_the_known_ones(key: str) -> None:
    answer = post(client_for(FakeLedger()), make_body(), path=f"/webhooks/{key}")
    document = assert_problem(answer, 404, "unknown-hub")
    assert "main" not in document["detail"]


def test_only_rules_of_the_hub_apply() -> None:
    ledger = FakeLedger()
    rules = (localize_rule(name="uk", hub="uk"), localize_rule(name="us", hub="us"))
    settings = make_settings(hubs=(make_hub("uk"), make_hub("us")), rules=rules)
    post(client_for(ledger, settings), make_body(), path="/webhooks/us")
    assert [plan.rule for plan in ledger.accepted[0][1]] == ["us"]


# Storage


def test_storage_away_asks_to_send_again(away: FakeLedger) -> None:
    answer = post(client_for(away), make_body())
    document = assert_problem(answer, 503, "storage-unavailable")
    assert answer.headers["Retry-After"] == "5"
    assert "10.1.2.3" not in json.dumps(document)


# What is told of it


def webhook_lines(logs: Any) -> list[dict[str, Any]]:
    return [line for line in logs if line["event"] == "webhook"]


def test_one_line_per_webhook_with_its_identifiers() -> None:
    with capture_logs() as logs:
        post(client_for(FakeLedger()), make_body(CONTENT_ITEM_CREATED, event_id="e1"))
    assert webhook_lines(logs) == [
        {
            "event": "webhook",
            "log_level": "info",
            "event_id": "e1",
            "hub": "main",
            "name": CONTENT_ITEM_CREATED,
            "status": 202,
            "reason": "accepted",
            "jobs": 1,
        }
    ]


@pytest.mark.parametrize(
    ("ledger", "status", "reason", "level"),
    [
        (FakeLedger(Accepted("ignored")), 202, "ignored", "info"),
        (FakeLedger(Accepted("duplicate")), 200, "duplicate", "info"),
        (FakeLedger(Accepted("conflict")), 409, "id-conflict", "warning"),
        (FakeLedger(error=RuntimeError("boom")), 500, "internal-error", "error"),
    ],
)
def test_line_says_what_became_of_it(
    ledger: FakeLedger, status: int, reason: str, level: str
) -> None:
    with capture_logs() as logs:
        post(client_for(ledger), make_body(EDITION_PUBLISHED, event_id="e1"))
    (line,) = webhook_lines(logs)
    assert (line["status"], line["reason"], line["log_level"]) == (status, reason, level)
    assert (line["event_id"], line["jobs"]) == ("e1", 0)


def test_refused_webhook_has_a_line_without_its_words() -> None:
    with capture_logs() as logs:
        client_for(FakeLedger()).post(
            "/webhooks/hush-hub", data=b"hush-body", headers={HEADER: "hush-signature"}
        )
        post(client_for(FakeLedger()), b"hush-body")
    assert [line["reason"] for line in webhook_lines(logs)] == ["unknown-hub", "body-not-json"]
    assert "hush" not in repr(logs)
    assert SECRET not in repr(logs)


@pytest.mark.parametrize(
    ("ledger", "body", "outcome"),
    [
        (FakeLedger(), make_body(), "accepted"),
        (FakeLedger(Accepted("duplicate")), make_body(), "duplicate"),
        (FakeLedger(), b"[]", "envelope-missing"),
        (FakeLedger(), b"x" * (MAX_BODY + 1), "body-too-large"),
    ],
    ids=["accepted", "duplicate", "envelope-missing", "body-too-large"],
)
def test_webhooks_are_counted_by_outcome(ledger: FakeLedger, body: bytes, outcome: str) -> None:
    def count() -> float:
        return REGISTRY.get_sample_value("dc_relay_webhooks_total", {"outcome": outcome}) or 0.0

    before = count()
    post(client_for(ledger), body)
    assert count() == before + 1
