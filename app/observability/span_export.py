"""Sends spans to an OpenTelemetry collector, over OTLP/HTTP; needs the extra `dc-relay[otel]`.

Spans leave in batches, from a thread of their own; a collector that is away costs the spans, one
line in the log now and then, and nothing else. The SDK reads the standard's variables (headers,
sampler, resource, batch) by itself
(https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

# A process that ends waits no longer for its last spans: platforms kill, and jobs come first.
_END_WITHIN = 2.0
_TELL_EVERY = 600.0
# They log each try, each batch and each span that is lost; `_Patient` says it once.
_WORDY = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.sdk._shared_internal",
)

_log = structlog.get_logger(__name__)


class SpanExport:
    """`tracer` makes spans that are sent to the collector at `endpoint`."""

    def __init__(self, endpoint: str, version: str) -> None:
        # What the environment says of the service wins over what we do.
        own = Resource.create({"service.name": "dc-relay", "service.version": version})
        # Not at exit by itself: it would wait for a collector that is away for half a minute.
        self._provider = TracerProvider(
            resource=own.merge(OTELResourceDetector().detect()), shutdown_on_exit=False
        )
        self._exporter = _Patient(OTLPSpanExporter(endpoint=endpoint))
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self.tracer = self._provider.get_tracer("dc-relay", version)
        self._end = threading.Event()
        # Made now, since no thread can be started while the interpreter ends (Python 3.12).
        self._closer = threading.Thread(target=self._close, name="traces-end", daemon=True)
        self._closer.start()
        for name in _WORDY:
            logging.getLogger(name).addFilter(self._exporter.listen)

    def close(self) -> None:
        """Send what is left, for two seconds at most."""
        self._end.set()
        self._closer.join(_END_WITHIN)
        for name in _WORDY:
            logging.getLogger(name).removeFilter(self._exporter.listen)

    def _close(self) -> None:
        self._end.wait()
        self._provider.shutdown()


class _Patient(SpanExporter):
    """Sends by another exporter; says that it fails at once, and then seldom."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._said = ""
        self._lost = 0
        self._told = float("-inf")

    def listen(self, record: logging.LogRecord) -> bool:
        """A filter that keeps the exporter's own lines out of the log, and the last for ours."""
        self._said = record.getMessage()
        return False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Called by the processor, from one thread at a time."""
        self._said = ""
        result = self._exporter.export(spans)
        if result is not SpanExportResult.SUCCESS:
            self._lost += len(spans)
            self._tell()
        return result

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._told >= _TELL_EVERY:
            _log.warning("traces.export-failed", lost=self._lost, detail=self._said)
            self._lost, self._told = 0, now

    def shutdown(self) -> None:
        """Called by the processor at its end."""
        self._exporter.shutdown()
