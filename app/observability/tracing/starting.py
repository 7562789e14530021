"""Switches spans on where a collector is named and the extra `dc-relay[otel]` is installed."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

import structlog

from app.observability.masking import Mask
from app.observability.tracing.seam import use

_log = structlog.get_logger(__name__)


def configure(endpoint: str | None, version: str, *, secrets: Iterable[str] = ()) -> None:
    """Send spans to `endpoint`; without one, import nothing and do nothing.

    Call it in each process that works, after a fork. Without the packages, or with a variable that
    the SDK cannot read, the process runs without spans, and says so: such variables are often set
    for all services of a platform at once, and a trace is no reason to leave webhooks unanswered.
    """
    if endpoint is None:
        return
    if not can_export():
        _log.warning("traces.not-installed", needs="dc-relay[otel]")
        return
    from app.observability.tracing.spans import SpanTracer  # noqa: PLC0415 - an extra

    try:
        tracer = SpanTracer(endpoint, version, Mask(secrets))
    except Exception as problem:  # noqa: BLE001 - whatever the SDK dislikes
        _log.error("traces.not-started", detail=f"{type(problem).__name__}: {problem}")
        return
    use(tracer)


def can_export() -> bool:
    """Whether the packages of `dc-relay[otel]` are installed."""
    try:
        return all(
            find_spec(f"opentelemetry.{name}")
            for name in ("sdk.trace", "exporter.otlp.proto.http.trace_exporter")
        )
    except ModuleNotFoundError:
        return False
