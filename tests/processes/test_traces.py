"""Spans of the real processes: built after the fork, and none is lost at an ordinary end."""

from __future__ import annotations

import signal
from pathlib import Path

from sandbox import SandboxServer
from tests.collector import collecting
from tests.processes.conftest import MakeItems
from tests.processes.running import (
    SERVE,
    await_ready,
    eventually,
    free_port,
    post,
    started,
)
from tests.relay import environment


def test_web_and_worker_send_their_last_spans_when_they_end(
    sandbox: SandboxServer, empty_sqlite_url: str, make_items: MakeItems, tmp_path: Path
) -> None:
    [item] = make_items(1)
    port = str(free_port())
    with collecting() as collector:
        environ = environment(
            sandbox,
            empty_sqlite_url,
            PORT=port,
            WEB_CONCURRENCY="2",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            # Not before the end.
            OTEL_BSP_SCHEDULE_DELAY="600000",
        )
        with started(SERVE, environ, tmp_path) as running:
            await_ready(f"http://127.0.0.1:{port}")
            assert post(f"http://127.0.0.1:{port}", item, "event-1").status_code == 202
            assert sandbox.received("default", at_least=1)
            eventually(lambda: running.lines("attempt.finished"))
            assert collector.spans == []
            running.signal(signal.SIGTERM)
            assert running.ended() == 0
        [webhook] = collector.named("POST /webhooks")
        [attempt] = collector.named("attempt forward")
        assert attempt.parent_id == webhook.span_id
        assert {span.trace_id for span in collector.spans} == {webhook.trace_id}


def test_collector_that_is_away_holds_up_no_end(
    sandbox: SandboxServer, empty_sqlite_url: str, make_items: MakeItems, tmp_path: Path
) -> None:
    [item] = make_items(1)
    port = str(free_port())
    environ = environment(
        sandbox,
        empty_sqlite_url,
        PORT=port,
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}",
    )
    with started(SERVE, environ, tmp_path) as running:
        await_ready(f"http://127.0.0.1:{port}")
        assert post(f"http://127.0.0.1:{port}", item, "event-1").status_code == 202
        assert sandbox.received("default", at_least=1)
        eventually(lambda: running.lines("attempt.finished"))
        running.signal(signal.SIGTERM)
        assert running.ended(40) == 0
        assert running.log.count("Traceback") == 0
