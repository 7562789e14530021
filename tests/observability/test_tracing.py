"""Tracing: what is passed on without a collector, and what is switched on by what."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import time
from contextlib import closing

import pytest
from structlog.testing import capture_logs

from app.observability import tracing
from tests.collector import collecting
from tests.config.loading import HUB, load
from tests.traces import TRACEPARENT, within_a_trace

OTHER = f"00-{'1' * 32}-{'2' * 16}-01"
NOWHERE = tracing.here()


def other() -> tracing.SpanContext:
    found = tracing.read_headers(OTHER)
    assert found is not None
    return found


def traceparent() -> str | None:
    with tracing.call("GET", "example.com") as span:
        return tracing.headers(span).get("traceparent")


def test_call_outside_of_an_attempt_is_of_no_trace() -> None:
    assert traceparent() is None
    with within_a_trace():
        assert traceparent() is not None
    assert traceparent() is None


def test_call_for_others_is_of_the_own_trace_and_else_of_the_first() -> None:
    with within_a_trace(), tracing.on_behalf_of([other(), NOWHERE]):
        assert traceparent() == TRACEPARENT
    with tracing.on_behalf_of([NOWHERE, other()]):
        assert traceparent() == OTHER
    assert traceparent() is None


def test_attempt_of_no_trace_is_not_within_the_one_before() -> None:
    with within_a_trace():
        pass
    with tracing.attempt("attempt", kept=None, attributes={}):
        assert traceparent() is None


@pytest.mark.parametrize(
    ("variables", "endpoint"),
    [
        ({}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/in/"}, "http://c:4318/in/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/t"}, "http://c/t"),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318",
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/t",
            },
            "http://c/t",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"},
            None,
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "False"},
            "http://c:4318/v1/traces",
        ),
    ],
)
def test_variables_of_the_standard_switch_spans_on(
    variables: dict[str, str], endpoint: str | None
) -> None:
    assert load({**HUB, **variables}).traces_endpoint == endpoint


def test_headers_for_the_collector_are_secrets() -> None:
    written = {"OTEL_EXPORTER_OTLP_HEADERS": "api-key=s%20one, x=two-two,nameless"}
    secrets = load({**HUB, **written}).secrets
    assert {"s%20one", "s one", "two-two", "nameless"} <= set(secrets)


def test_secrets_are_masked_in_spans() -> None:
    with collecting() as collector:
        tracing.configure(f"{collector.url}/v1/traces", "1", secrets=["hush-hush"])
        try:
            with tracing.attempt("attempt", kept=None, attributes={"rule": "a hush-hush rule"}):
                pass
        finally:
            tracing.close()
        [span] = collector.named("attempt")
    assert span.attributes == {"rule": "a *** rule"}


def test_end_sends_what_is_left() -> None:
    with collecting() as collector:
        tracing.configure(f"{collector.url}/v1/traces", "1")
        with tracing.attempt("attempt", kept=None, attributes={}):
            pass
        tracing.close()
        assert [span.name for span in collector.spans] == ["attempt"]
        assert not tracing.is_on()


@pytest.mark.processes
def test_end_does_not_wait_for_a_collector_that_hangs() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        tracing.configure(f"http://127.0.0.1:{silent.getsockname()[1]}/v1/traces", "1")
        with tracing.attempt("attempt", kept=None, attributes={}):
            pass
        started = time.monotonic()
        tracing.close()
        assert 1 < time.monotonic() - started < 4


_BLOCKED = """
import sys
sys.modules["opentelemetry.sdk.trace"] = None
sys.modules["opentelemetry.sdk"] = None
from app.observability import configure_logging, tracing
configure_logging("INFO", "json")
tracing.configure("http://127.0.0.1:9/v1/traces", "1")
assert not tracing.is_on()
"""


def test_asked_for_without_the_packages_it_says_so_and_goes_on() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _BLOCKED], capture_output=True, text=True, check=True, timeout=30
    )
    assert '"traces.not-installed"' in done.stderr
    assert "dc-relay[otel]" in done.stderr


_EVERYTHING = """
import sys
import app.web.wsgi
from app.bootstrap import build_worker
from app.config import load_settings
import app.cli
import os
build_worker(load_settings(os.environ)).close()
print(sorted(name for name in sys.modules if name.startswith("opentelemetry.sdk")))
"""


@pytest.mark.processes
@pytest.mark.parametrize(
    ("variables", "is_imported"),
    [
        ({}, False),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"},
            False,
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, True),
    ],
)
def test_sdk_is_imported_only_where_spans_are_wanted(
    variables: dict[str, str], is_imported: bool, sqlite_url: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _EVERYTHING],
        env={"WEBHOOK_SECRET": "secret", "DATABASE_URL": sqlite_url, **variables},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert (done.stdout.strip() != "[]") == is_imported


def test_variable_that_cannot_be_read_costs_the_spans_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    with capture_logs() as lines:
        tracing.configure("http://127.0.0.1:9/v1/traces", "1")
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("traces.not-started", "error")
    ]
    assert not tracing.is_on()


def test_exporter_has_its_own_lines_again_after_the_end() -> None:
    with collecting() as collector:
        tracing.configure(f"{collector.url}/v1/traces", "1")
        tracing.close()
    name = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
    assert logging.getLogger(name).filters == []


def test_configure_without_an_endpoint_does_nothing() -> None:
    with capture_logs() as lines:
        tracing.configure(None, "1")
    assert lines == []
    assert not tracing.is_on()
