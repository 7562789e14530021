"""Spans for an OpenTelemetry collector, over OTLP/HTTP; needs the extra `dc-relay[otel]`.

The one module that knows OpenTelemetry. Spans leave in batches, from a thread of their own; a
collector that is away costs the spans, one line in the log now and then, and nothing else. What the
standard's variables say (headers, sampler, resource, batch) the SDK reads by itself
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
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)
from opentelemetry.trace import Span as ApiSpan

from app.observability.masking import Mask
from app.observability.tracing.seam import Attributes, Kind, Span
from app.observability.tracing.traceparent import TraceContext

_KINDS = {
    "server": SpanKind.SERVER,
    "consumer": SpanKind.CONSUMER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
}
# What comes from another process, or from another time.
_FROM_AFAR = frozenset({"server", "consumer"})
# A process that ends waits no longer for its last spans: platforms kill, and jobs come first.
_END_WITHIN = 2.0
_TELL_EVERY = 600.0
# They log each try, each batch and each span that is lost; `_Patient` says it once.
_WORDY = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.sdk._shared_internal",
)

_log = structlog.get_logger(__name__)


class SpanTracer:
    """Makes spans of OpenTelemetry and sends them to the collector at `endpoint`."""

    def __init__(self, endpoint: str, version: str, mask: Mask) -> None:
        self._mask = mask
        # What the environment says of the service wins over what we do.
        own = Resource.create({"service.name": "dc-relay", "service.version": version})
        # Not at exit by itself: it would wait for a collector that is away for half a minute.
        self._provider = TracerProvider(
            resource=own.merge(OTELResourceDetector().detect()), shutdown_on_exit=False
        )
        self._words = _LastWords()
        exporter = _Patient(OTLPSpanExporter(endpoint=endpoint), self._words)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("dc-relay", version)
        self._end = threading.Event()
        # Made now, since no thread can be started while the interpreter ends (Python 3.12).
        self._closer = threading.Thread(target=self._close, name="traces-end", daemon=True)
        self._closer.start()
        self._words.listen()

    def start(
        self,
        kind: Kind,
        name: str,
        *,
        parent: TraceContext | None,
        attributes: Attributes,
        links: Sequence[TraceContext] = (),
    ) -> Span:
        """Begin a span; one that is not sampled has its place in the trace all the same."""
        above = _span_context(parent, is_remote=kind in _FROM_AFAR) if parent else None
        span = self._tracer.start_span(
            name,
            # Never the SDK's own idea of where this thread is: ours knows.
            set_span_in_context(NonRecordingSpan(above or _NOWHERE)),
            _KINDS[kind],
            links=[Link(_span_context(link, is_remote=False)) for link in links],
        )
        made = _Recorded(span, self._mask)
        made.add(attributes)
        return made

    def close(self) -> None:
        """Send what is left, for two seconds at most."""
        self._end.set()
        self._closer.join(_END_WITHIN)
        self._words.leave()

    def _close(self) -> None:
        self._end.wait()
        self._provider.shutdown()


class _Recorded:
    """A span as the service sees it; every text is masked on its way in."""

    def __init__(self, span: ApiSpan, mask: Mask) -> None:
        self._span = span
        self._mask = mask
        self._failed = False
        made = span.get_span_context()
        self.context: TraceContext | None = TraceContext(
            format_trace_id(made.trace_id),
            format_span_id(made.span_id),
            int(made.trace_flags),
            made.trace_state.to_header(),
        )

    def add(self, attributes: Attributes) -> None:
        for name, value in attributes.items():
            if value is not None:
                masked = self._mask.text(value) if isinstance(value, str) else value
                self._span.set_attribute(name, masked)

    def fail(self, why: str) -> None:
        if self._failed:
            return  # the first word is the nearest to what happened
        self._failed = True
        word = self._mask.text(why)
        self._span.set_attribute("error.type", word)
        self._span.set_status(Status(StatusCode.ERROR, word))

    def end(self) -> None:
        self._span.end()


_NOWHERE = SpanContext(0, 0, is_remote=False)


def _span_context(place: TraceContext, *, is_remote: bool) -> SpanContext:
    return SpanContext(
        int(place.trace_id, 16),
        int(place.parent_id, 16),
        is_remote=is_remote,
        trace_flags=TraceFlags(place.flags),
        trace_state=TraceState.from_header([place.state] if place.state else []),
    )


class _LastWords(logging.Filter):
    """Keeps the exporter's own lines out of the log, and the last one of them for ours."""

    def __init__(self) -> None:
        super().__init__()
        self.said = ""

    def listen(self) -> None:
        for name in _WORDY:
            logging.getLogger(name).addFilter(self)

    def leave(self) -> None:
        for name in _WORDY:
            logging.getLogger(name).removeFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        self.said = record.getMessage()
        return False


class _Patient(SpanExporter):
    """Sends by another exporter; says that it fails at once, and then seldom."""

    def __init__(self, exporter: SpanExporter, words: _LastWords) -> None:
        self._exporter = exporter
        self._words = words
        self._lost = 0
        self._told = float("-inf")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Called by the processor, from one thread at a time."""
        self._words.said = ""
        result = self._exporter.export(spans)
        if result is not SpanExportResult.SUCCESS:
            self._lost += len(spans)
            self._tell()
        return result

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._told >= _TELL_EVERY:
            _log.warning("traces.export-failed", lost=self._lost, detail=self._words.said)
            self._lost, self._told = 0, now

    def shutdown(self) -> None:
        """Called by the processor at its end."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is kept here."""
        return self._exporter.force_flush(timeout_millis)
