"""Traces: W3C's `traceparent` passed on, and spans for an OpenTelemetry collector if one is named.

Only `spans`, which is not imported before it is needed, knows OpenTelemetry.
"""

from app.observability.tracing.seam import (
    Attributes,
    Span,
    answered,
    attempt,
    call,
    close,
    here,
    is_on,
    on_behalf_of,
    webhook,
)
from app.observability.tracing.starting import can_export, configure
from app.observability.tracing.traceparent import (
    TraceContext,
    read_headers,
    read_kept,
    trace_id_of,
)

__all__ = [
    "Attributes",
    "Span",
    "TraceContext",
    "answered",
    "attempt",
    "call",
    "can_export",
    "close",
    "configure",
    "here",
    "is_on",
    "on_behalf_of",
    "read_headers",
    "read_kept",
    "trace_id_of",
    "webhook",
]
