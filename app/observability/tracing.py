"""Traces: W3C's `traceparent` passed on, and spans for an OpenTelemetry collector if one is named.

Spans are those of OpenTelemetry's API. Without a collector its no-op tracer passes a caller's place
in a trace on unchanged, and makes up none: a `traceparent` of our own that says "not sampled" would
have the services behind us drop their traces. Only `span_export` imports the SDK, an extra.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

import structlog
from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app.observability.masking import Mask

if TYPE_CHECKING:
    from app.observability.span_export import SpanExport

__all__ = ["Attributes", "Span", "SpanContext"]

# Those that are None are left out.
Attributes = Mapping[str, str | int | float | bool | None]

_PROPAGATOR = TraceContextTextMapPropagator()
_LINKS = contexts.create_key("dc_relay.links")
# It warns of each malformed header, and anybody may send those.
logging.getLogger("opentelemetry.trace").setLevel(logging.ERROR)
_log = structlog.get_logger(__name__)

_tracer: trace.Tracer = trace.NoOpTracer()
_mask = Mask(())
_export: SpanExport | None = None


def configure(endpoint: str | None, version: str, *, secrets: Iterable[str] = ()) -> None:
    """Send spans to `endpoint`; without one, import nothing and do nothing.

    Call it in each process that works, after a fork. Without the packages, or with a variable that
    the SDK cannot read, the process runs without spans, and says so: such variables are often set
    for all services of a platform at once, and a trace is no reason to leave webhooks unanswered.
    """
    global _tracer, _mask, _export
    if endpoint is None:
        return
    if not can_export():
        _log.warning("traces.not-installed", needs="dc-relay[otel]")
        return
    from app.observability.span_export import SpanExport  # noqa: PLC0415 - an extra

    try:
        export = SpanExport(endpoint, version)
    except Exception as problem:  # noqa: BLE001 - whatever the SDK dislikes
        _log.error("traces.not-started", detail=f"{type(problem).__name__}: {problem}")
        return
    close()
    _tracer, _mask, _export = export.tracer, Mask(secrets), export


def close() -> None:
    """Send the spans that are left, for two seconds at most, and trace no more."""
    global _tracer, _export
    export, _tracer, _export = _export, trace.NoOpTracer(), None
    if export is not None:
        export.close()


def is_on() -> bool:
    """Whether spans are sent to a collector."""
    return _export is not None


def can_export() -> bool:
    """Whether the packages of `dc-relay[otel]` are installed."""
    try:
        return all(
            find_spec(f"opentelemetry.{name}")
            for name in ("sdk.trace", "exporter.otlp.proto.http.trace_exporter")
        )
    except ModuleNotFoundError:
        return False


def webhook(name: str, *, parent: SpanContext | None, attributes: Attributes) -> Span:
    """Begin the span of a webhook; the caller ends it."""
    return _start(name, SpanKind.SERVER, attributes, below=_context(parent))


@contextmanager
def attempt(name: str, *, kept: str | None, attributes: Attributes) -> Iterator[Span]:
    """Trace what this thread does inside the block as an attempt for an event.

    `kept` is what was stored with the event. Log lines inside have the trace's id as `trace_id`.
    """
    span = _start(name, SpanKind.CONSUMER, attributes, below=_context(read_kept(kept)))
    place = span.get_span_context()
    with (
        trace.use_span(
            span, end_on_exit=True, record_exception=False, set_status_on_exception=False
        ),
        structlog.contextvars.bound_contextvars(
            **({"trace_id": trace_id(place)} if place.is_valid else {})
        ),
    ):
        yield span


@contextmanager
def call(method: str, host: str, *, path: str | None = None) -> Iterator[Span]:
    """Trace one request to another service; the block sends the `headers` of the span.

    Outside of a trace nothing is traced. `host` may have a port. `path` only where nothing in it
    can be secret; a query never.
    """
    if not here().is_valid:
        yield trace.INVALID_SPAN
        return
    links = cast("Sequence[SpanContext]", contexts.get_value(_LINKS) or ())
    attributes = {"http.request.method": method, **_place(host), "url.path": path}
    span = _start(method, SpanKind.CLIENT, attributes, links=[Link(each) for each in links])
    try:
        yield span
    except Exception as problem:
        # An error about an answer has its status.
        fail(span, str(getattr(problem, "status", None) or type(problem).__name__))
        raise
    finally:
        span.end()


def add(span: Span, attributes: Attributes) -> None:
    """Add attributes, with secrets masked."""
    for name, value in attributes.items():
        if value is not None:
            span.set_attribute(name, _mask.text(value) if isinstance(value, str) else value)


def fail(span: Span, why: str) -> None:
    """Mark the span as failed, with a word for the reason."""
    add(span, {"error.type": why})
    span.set_status(trace.Status(trace.StatusCode.ERROR, _mask.text(why)))


def answered(span: Span, status: int) -> None:
    """Add the status of the answer to a request that was made in `call`."""
    add(span, {"http.response.status_code": status})
    if status >= 400:
        # https://opentelemetry.io/docs/specs/semconv/http/http-spans/#status
        fail(span, str(status))


def here() -> SpanContext:
    """Where in a trace this thread is; not `is_valid` outside of any."""
    return trace.get_current_span().get_span_context()


@contextmanager
def on_behalf_of(others: Iterable[SpanContext]) -> Iterator[None]:
    """Link the requests in the block to these as well.

    A request has one `traceparent`: it is of this thread's own trace, or of the first other one
    where it has none.
    """
    own = here()
    beside = [other for other in others if other.is_valid and other != own]
    context = contexts.set_value(_LINKS, beside)
    if beside and not own.is_valid:
        context = trace.set_span_in_context(NonRecordingSpan(beside[0]), context)
    token = contexts.attach(context)
    try:
        yield
    finally:
        contexts.detach(token)


def headers(span: Span) -> dict[str, str]:
    """`traceparent` and `tracestate` of a request made in this span; none outside of a trace."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, trace.set_span_in_context(span, Context()))
    return carrier


def read_headers(traceparent: str | None, tracestate: str | None = None) -> SpanContext | None:
    """The place that a caller's headers name; None where there is no valid `traceparent`.

    An invalid `tracestate` is left out, and the trace goes on without it.
    """
    carrier = {"traceparent": traceparent or "", "tracestate": tracestate or ""}
    place = trace.get_current_span(_PROPAGATOR.extract(carrier, Context())).get_span_context()
    return place if place.is_valid else None


def to_keep(place: SpanContext) -> str:
    """The text to store with an event: `traceparent`, and after a blank the `tracestate`."""
    return " ".join(headers(NonRecordingSpan(place)).values())


def read_kept(kept: str | None) -> SpanContext | None:
    """The place that `to_keep` made the text of; None where nothing was stored."""
    traceparent, _, tracestate = (kept or "").partition(" ")
    return read_headers(traceparent, tracestate)


def trace_id(place: SpanContext) -> str:
    """The trace's id as `traceparent` has it."""
    return trace.format_trace_id(place.trace_id)


def _context(parent: SpanContext | None) -> Context:
    return trace.set_span_in_context(NonRecordingSpan(parent), Context()) if parent else Context()


def _start(
    name: str,
    kind: SpanKind,
    attributes: Attributes,
    *,
    below: Context | None = None,
    links: Sequence[Link] = (),
) -> Span:
    span = _tracer.start_span(name, below, kind, links=links)
    add(span, attributes)
    return span


def _place(host: str) -> Attributes:
    name, _, port = host.rpartition(":") if host.rpartition(":")[2].isdigit() else (host, "", "")
    return {"server.address": name.strip("[]") or None, "server.port": int(port) if port else None}
