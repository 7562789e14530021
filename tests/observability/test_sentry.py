from __future__ import annotations

import http.server
import logging
import threading
from typing import Any

import flask
import pytest
import requests
import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from app.observability import configure_logging, configure_sentry, log_context, report

DSN = "http://publickey@127.0.0.1:9/1"
SECRET = "the-client-secret"
BODY = "an editor's unpublished words"
# Secret by their name or form alone. Written here, because a report shows the lines of code around
# an error.
UNKNOWN = "unknown-token"
PERSON = "editor@example.com"
BASIC = "Basic abc"
DATABASE = "postgresql://relay:hunter2@db/relay"


class KeptTransport(Transport):
    """Keeps what would have been sent."""

    def __init__(self) -> None:
        super().__init__()
        self.envelopes: list[Envelope] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.envelopes.append(envelope)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [dict(event) for kept in self.envelopes if (event := kept.get_event()) is not None]

    @property
    def sent(self) -> str:
        return b"".join(kept.serialize() for kept in self.envelopes).decode()


@pytest.fixture
def sentry() -> KeptTransport:
    transport = KeptTransport()
    configure_sentry(DSN, "tests", "dc-relay@0", secrets=[SECRET], transport=transport)
    return transport


def fail(note: str) -> None:
    local = f"local {note}"
    raise ValueError(f"refused: {note}", len(local))


def test_without_a_dsn_nothing_happens() -> None:
    configure_sentry(None, "tests", "dc-relay@0", secrets=[SECRET])

    assert not sentry_sdk.is_initialized()
    report("dead job", job_id=7)


def test_a_message_is_reported_once_with_its_fields_and_context(sentry: KeptTransport) -> None:
    with log_context(hub="main", event_id="e1", job_id=7):
        report("job is dead", action="forward", attempts=8)

    (event,) = sentry.events
    assert event["message"] == "job is dead"
    assert event["level"] == "error"
    assert event["environment"] == "tests"
    assert event["release"] == "dc-relay@0"
    assert event["contexts"]["report"] == {"action": "forward", "attempts": 8}
    assert event["tags"] == {
        "relay.hub": "main",
        "relay.event_id": "e1",
        "relay.job_id": "7",
    }


def test_fields_of_one_report_are_not_in_the_next(sentry: KeptTransport) -> None:
    report("job is dead", action="forward")
    report("destination is gone")

    assert "report" not in sentry.events[1]["contexts"]


def test_an_error_is_reported_with_its_stack_and_without_local_values(
    sentry: KeptTransport,
) -> None:
    try:
        fail(BODY)
    except ValueError as error:
        report(error)

    (event,) = sentry.events
    (value,) = event["exception"]["values"]
    frames = value["stacktrace"]["frames"]
    assert value["type"] == "ValueError"
    assert [frame["function"] for frame in frames][-1] == "fail"
    assert not any("vars" in frame for frame in frames)
    assert f"local {BODY}" not in sentry.sent


def test_no_secret_leaves_in_a_message_error_field_extra_or_breadcrumb(
    sentry: KeptTransport,
) -> None:
    sentry_sdk.add_breadcrumb(
        category="call",
        message=f"sent {SECRET}",
        data={"url": f"https://search.example/?k={SECRET}", "Authorization": BASIC},
    )
    with sentry_sdk.new_scope() as scope:
        scope.set_extra("headers", {"X-Api-Key": UNKNOWN, "x": [SECRET]})
        scope.set_tag("client", SECRET)
        scope.set_user({"email": PERSON})
        report(f"refused {SECRET}", client=SECRET, access_token=UNKNOWN)
    try:
        fail(SECRET)
    except ValueError as error:
        report(error, dsn_of_db=DATABASE)

    assert len(sentry.events) == 2
    assert sentry.events[0]["breadcrumbs"]["values"][0]["message"] == "sent ***"
    for hidden in (SECRET, UNKNOWN, BASIC, PERSON, "hunter2"):
        assert hidden not in sentry.sent


def failing_app() -> flask.Flask:
    app = flask.Flask(__name__)

    @app.post("/webhooks")
    def receive() -> str:
        body = flask.request.get_data(as_text=True)
        form = flask.request.get_json()
        raise RuntimeError("cannot store", len(body), len(form))

    return app


def test_a_failing_request_tells_its_path_and_nothing_that_came_in(
    sentry: KeptTransport,
) -> None:
    failing_app().test_client().post(
        "/webhooks?access=query-value",
        json={"payload": {"body": BODY}},
        headers={
            "Authorization": "Bearer admin-token-value",
            "X-Amplience-Webhook-Signature": "signature-value",
            "X-Forwarded-For": "203.0.113.9",
            "X-Custom": f"custom-value {SECRET}",
            "Cookie": "session=cookie-value",
            "X-Request-Id": "r1",
        },
    )

    (event,) = sentry.events
    assert event["exception"]["values"][0]["type"] == "RuntimeError"
    assert event["request"]["method"] == "POST"
    assert event["request"]["url"].endswith("/webhooks")
    assert set(event["request"]) == {"method", "url", "headers"}
    assert {name.lower() for name in event["request"]["headers"]} <= {
        "content-length",
        "content-type",
        "host",
        "user-agent",
        "x-request-id",
    }
    for hidden in (SECRET, BODY, "-value", "203.0.113.9"):
        assert hidden not in sentry.sent


def test_request_parts_set_by_hand_do_not_leave_either(sentry: KeptTransport) -> None:
    sentry_sdk.capture_event(
        {
            "message": "by hand",
            "request": {
                "url": "https://relay.example/webhooks?q=1",
                "data": BODY,
                "cookies": {"a": "cookie-value"},
                "env": {"X": "env-value"},
                "query_string": "q=1",
                "headers": {"X-Signature": "signature-value", "Content-Type": "text/plain"},
            },
        }
    )

    (event,) = sentry.events
    assert event["request"] == {
        "url": "https://relay.example/webhooks",
        "headers": {"Content-Type": "text/plain"},
    }


def test_a_line_of_the_log_is_no_report(sentry: KeptTransport) -> None:
    configure_logging("INFO", "json")

    logging.getLogger("app").error("destination failed: %s", BODY)
    report("job is dead")

    (event,) = sentry.events
    assert event["message"] == "job is dead"
    assert BODY not in sentry.sent


def test_outgoing_calls_carry_nothing_of_sentry_and_leave_no_trace(
    sentry: KeptTransport,
) -> None:
    received: list[str] = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.extend(name.lower() for name in self.headers)
            self.send_response(204)
            self.end_headers()

        def log_request(self, *_: object) -> None:
            """Quiet."""

    with http.server.HTTPServer(("127.0.0.1", 0), Receiver) as server:
        serving = threading.Thread(target=server.handle_request)
        serving.start()
        url = f"http://127.0.0.1:{server.server_port}/services/path-value"
        requests.post(url, data=BODY, timeout=5)
        serving.join()
    report("job is dead")

    assert "host" in received
    assert not {"sentry-trace", "baggage", "traceparent"} & set(received)
    assert "path-value" not in sentry.sent


def test_what_cannot_be_masked_is_not_sent(sentry: KeptTransport) -> None:
    sentry_sdk.capture_event({"message": "odd", "request": "not a mapping"})  # type: ignore[typeddict-item]

    assert sentry.envelopes == []


def test_command_line_is_not_sent(sentry: KeptTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["dc-relay", "--secret", "typed-value"])

    report("job is dead")

    assert "typed-value" not in sentry.sent


def test_nothing_but_events_is_sent(sentry: KeptTransport) -> None:
    failing_app().test_client().post("/webhooks", json={"a": 1})
    sentry_sdk.get_client().close()

    kinds = {item.type for kept in sentry.envelopes for item in kept.items}
    assert kinds == {"event"}
