"""With the extra switched on, all that is done for one event is one trace at a collector."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import pytest
import requests
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from app.config import load_settings
from app.events import SNAPSHOT_PUBLISHED
from app.observability import tracing
from app.queue.search import list_events
from sandbox import SandboxServer
from tests.builders import make_body, signed
from tests.collector import Collected, Collector, collecting
from tests.relay import SECRET, Relay, environment, eventually, running, working
from tests.stories.editing import create, publish
from tests.traces import PARENT, STATE, TRACE, TRACEPARENT

RETRY_AT_ONCE = """
[destinations.default]
url = "${DOWNSTREAM}?key=a-secret-of-the-query"
allow_private = true
headers = { "X-Api-Key" = "a-secret-of-the-header" }
retry = { schedule = ["50ms", "50ms"], jitter = 0 }

[[rules]]
name = "forward at once"
events = ["dynamic-content.snapshot.published"]
action = "forward"
to = ["default"]
"""


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    # The SDK reads it from the process, as it does the sampler.
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    with collecting() as one:
        yield one


@pytest.fixture
def environ(sandbox: SandboxServer, sqlite_url: str, tmp_path: Any) -> dict[str, str]:
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


@contextmanager
def traced(
    environ: Mapping[str, str], endpoint: str, *, worker: bool = True, **more: str
) -> Iterator[Relay]:
    """The service, with spans to a collector."""
    environ = {**environ, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, **more}
    settings = load_settings(environ)
    tracing.configure(settings.traces_endpoint, "1.2.3", secrets=settings.secrets)
    try:
        with running(environ, worker=worker) as relay:
            yield relay
    finally:
        tracing.close()


def published(sandbox: SandboxServer, label: str = "Spring banner") -> bytes:
    item = create(sandbox, label, locale="fr-FR")
    publish(sandbox, item)
    assert sandbox.settle()
    return make_body(SNAPSHOT_PUBLISHED, event_id=f"event of {label}", rootContentItem={"id": item})


def post(relay: Relay, body: bytes, **headers: str) -> int:
    return requests.post(
        f"{relay.url}/webhooks", data=body, headers={**signed(body, SECRET), **headers}, timeout=5
    ).status_code


def below(collector: Collector, parent: Collected) -> list[Collected]:
    """What was done within a span."""
    return [span for span in collector.spans if span.parent_id == parent.span_id]


def test_webhook_attempts_and_calls_are_one_trace(
    sandbox: SandboxServer, environ: dict[str, str], collector: Collector
) -> None:
    sandbox.faults.add(where="downstream", kind="status", status=503, times=1)
    with traced(environ, collector.url) as relay:
        assert post(relay, published(sandbox)) == 202
        relay.wait_for(succeeded=1)
        [event] = list_events(relay.storage).rows
    [webhook] = collector.named("POST /webhooks")
    failed, done = collector.named("attempt forward", 2)
    assert {span.trace_id for span in collector.spans} == {event.trace_id}
    assert {span.service for span in collector.spans} == {"dc-relay"}

    assert (webhook.kind, webhook.parent_id, webhook.failed) == ("server", "", False)
    assert webhook.attributes == {
        "http.request.method": "POST",
        "http.route": "/webhooks",
        "http.response.status_code": 202,
        "dc_relay.reason": "accepted",
        "dc_relay.event.id": event.event_id,
        "dc_relay.event.name": SNAPSHOT_PUBLISHED,
        "dc_relay.hub": "main",
        "dc_relay.jobs": 1,
    }
    assert [span.kind for span in (failed, done)] == ["consumer"] * 2
    assert [span.parent_id for span in (failed, done)] == [webhook.span_id] * 2
    assert [span.failed for span in (failed, done)] == [True, False]
    of_the_job = {
        "dc_relay.event.id": event.event_id,
        "dc_relay.event.name": SNAPSHOT_PUBLISHED,
        "dc_relay.job.id": 1,
        "dc_relay.rule": "forward at once",
        "dc_relay.action": "forward",
        "dc_relay.hub": "main",
        "dc_relay.destination": "default",
    }
    assert failed.attributes == {
        **of_the_job,
        "dc_relay.attempt": 1,
        "dc_relay.outcome": "retry",
        "dc_relay.state": "waiting",
        "dc_relay.reason": "destination-unavailable",
        "error.type": "destination-unavailable",
    }
    assert done.attributes == {
        **of_the_job,
        "dc_relay.attempt": 2,
        "dc_relay.outcome": "succeeded",
        "dc_relay.state": "succeeded",
    }

    pulled, refused = below(collector, failed)
    [taken] = below(collector, done)
    host, port = sandbox.url.removeprefix("http://").split(":")
    place = {"server.address": host, "server.port": int(port), "http.request.method": "POST"}
    assert {span.kind for span in (pulled, refused, taken)} == {"client"}
    assert pulled.attributes == {
        **place,
        "url.path": "/content/fetch",
        "http.response.status_code": 200,
    }
    assert refused.failed
    assert refused.attributes == {
        **place,
        "http.response.status_code": 503,
        "error.type": "503",
    }
    assert (taken.failed, taken.attributes) == (False, {**place, "http.response.status_code": 200})
    assert len(collector.spans) == 6

    # Each request was sent with the id of the span that tells of it.
    sent = [call for call in list(sandbox.state.calls) if call.traceparent]
    assert [str(call.traceparent).split("-")[1:3] for call in sent] == [
        [event.trace_id, span.span_id] for span in (pulled, refused, taken)
    ]
    assert not any(b"a-secret-of" in body for body in collector.bodies)


def test_trace_of_the_caller_goes_on(
    sandbox: SandboxServer, environ: dict[str, str], collector: Collector
) -> None:
    body = published(sandbox)
    with traced(environ, collector.url) as relay, capture_logs([merge_contextvars]) as lines:
        assert post(relay, body, traceparent=TRACEPARENT, tracestate=STATE) == 202
        relay.wait_for(succeeded=1)
        [received] = sandbox.received("default")
    [webhook] = collector.named("POST /webhooks")
    assert (webhook.trace_id, webhook.parent_id, webhook.state) == (TRACE, PARENT, STATE)
    assert {span.trace_id for span in collector.spans} == {TRACE}
    assert {name.lower(): value for name, value in received.headers.items()}["tracestate"] == STATE
    named = [line for line in lines if line["event"] in ("webhook", "attempt.finished")]
    assert [line.get("trace_id") for line in named] == [TRACE, TRACE]


def test_worker_elsewhere_goes_on_from_what_was_kept(
    sandbox: SandboxServer, environ: dict[str, str], collector: Collector
) -> None:
    with traced(environ, collector.url, worker=False) as relay:
        assert post(relay, published(sandbox)) == 202
    [webhook] = collector.named("POST /webhooks")
    settings = load_settings(environ)
    tracing.configure(f"{collector.url}/v1/traces", "1.2.3")
    try:
        with working(settings):
            [attempt] = collector.named("attempt forward")
    finally:
        tracing.close()
    assert (attempt.trace_id, attempt.parent_id) == (webhook.trace_id, webhook.span_id)


def test_shared_pull_is_linked_to_all_that_it_was_made_for(
    sandbox: SandboxServer, environ: dict[str, str], collector: Collector
) -> None:
    with traced(environ, collector.url, worker=False) as relay:
        for number in range(6):
            assert post(relay, published(sandbox, f"Banner {number}")) == 202
        with working(relay.settings):
            relay.wait_for(succeeded=6)
    attempts = {span.span_id: span for span in collector.named("attempt forward", 6)}
    assert len({span.trace_id for span in attempts.values()}) == 6
    pulls = [span for span in collector.spans if span.attributes.get("url.path")]
    shared = max(pulls, key=lambda span: len(span.links))
    assert shared.links
    assert {shared.parent_id, *shared.links} <= attempts.keys()
    assert len({shared.parent_id, *shared.links}) == 1 + len(shared.links)
    assert shared.trace_id == attempts[shared.parent_id].trace_id


def test_refused_webhook_is_told_and_is_no_failure_of_ours(
    environ: dict[str, str], collector: Collector
) -> None:
    with traced(environ, collector.url, worker=False) as relay:
        answer = requests.post(f"{relay.url}/webhooks", json={}, timeout=5)
        assert answer.status_code == 401
    [webhook] = collector.named("POST /webhooks")
    assert not webhook.failed
    assert webhook.attributes["http.response.status_code"] == 401
    assert webhook.attributes["dc_relay.reason"] == "signature-missing"


def test_sampler_of_the_standard_decides(
    sandbox: SandboxServer,
    environ: dict[str, str],
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "relay-of-the-shop")
    with traced(environ, collector.url) as relay:
        assert post(relay, published(sandbox, "Unsampled")) == 202
        relay.wait_for(succeeded=1)
        assert post(relay, published(sandbox, "Sampled"), traceparent=TRACEPARENT) == 202
        relay.wait_for(succeeded=2)
        sent = [
            call.traceparent for call in list(sandbox.state.calls) if call.where == "downstream"
        ]
    assert {span.trace_id for span in collector.spans} == {TRACE}
    assert {span.service for span in collector.spans} == {"relay-of-the-shop"}
    # What was not sampled says so to those who come after.
    assert [int(str(each)[-2:], 16) & 1 for each in sent] == [0, 1]


def closed_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("kind", ["nobody-listens", "never-answers", "refuses"])
def test_collector_that_is_away_harms_nothing(
    sandbox: SandboxServer,
    environ: dict[str, str],
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with closing(socket.create_server(("127.0.0.1", 0), backlog=16)) as silent:
        endpoint = {
            "nobody-listens": f"http://127.0.0.1:{closed_port()}",
            "never-answers": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "refuses": f"{collector.url}/nowhere",
        }[kind]
        with capture_logs() as lines:
            with traced(environ, endpoint) as relay:
                started = time.monotonic()
                for number in range(10):
                    assert post(relay, published(sandbox, f"Banner {number}")) == 202
                relay.wait_for(succeeded=10)
                took = time.monotonic() - started
                assert eventually(lambda: "traces.export-failed" in events(lines))
                assert post(relay, published(sandbox, "One more")) == 202
                relay.wait_for(succeeded=11)
                time.sleep(1.5)
                closing_at = time.monotonic()
            assert time.monotonic() - closing_at < 10
        assert took < 8
        [line] = [line for line in lines if line["event"] == "traces.export-failed"]
        assert line["lost"] > 0
        assert line["detail"]
        assert len(sandbox.received("default")) == 11


def events(lines: list[Any]) -> set[str]:
    return {line["event"] for line in list(lines)}
