"""What the door makes of a trace that its caller is in."""

from __future__ import annotations

from structlog.contextvars import get_contextvars, merge_contextvars
from structlog.testing import capture_logs

from app.events import SNAPSHOT_PUBLISHED
from tests.builders import make_body, signed
from tests.traces import STATE, TRACE, TRACEPARENT
from tests.web.conftest import FakeLedger, client_for


def test_trace_of_the_caller_is_kept_with_the_event_and_ends_with_the_request() -> None:
    ledger, body = FakeLedger(), make_body(SNAPSHOT_PUBLISHED)
    client = client_for(ledger)
    headers = signed(body)
    with capture_logs(processors=[merge_contextvars]) as logs:
        client.post("/webhooks", data=body, headers={**headers, "Traceparent": TRACEPARENT})
        assert "trace_id" not in get_contextvars()
        client.post("/webhooks", data=body, headers={**headers, "Tracestate": STATE})
        stated = {"Traceparent": TRACEPARENT, "Tracestate": STATE}
        client.post("/webhooks", data=body, headers={**headers, **stated})
        client.post("/webhooks", data=body, headers={**headers, "Traceparent": "00-bad"})
    assert [event.trace for event, _ in ledger.accepted] == [
        TRACEPARENT,
        None,
        f"{TRACEPARENT} {STATE}",
        None,
    ]
    assert [line.get("trace_id") for line in logs] == [TRACE, None, TRACE, None]


def test_refused_webhook_is_logged_with_its_trace() -> None:
    client = client_for(FakeLedger())
    with capture_logs(processors=[merge_contextvars]) as logs:
        client.post("/webhooks", data=b"{}", headers={"Traceparent": TRACEPARENT})
    assert [(line["event"], line.get("trace_id")) for line in logs] == [("webhook", TRACE)]
