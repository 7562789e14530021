"""An OpenTelemetry collector on loopback: it takes spans by OTLP/HTTP and remembers them.

It reads the wire's own form with the definitions of `opentelemetry-proto`.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from tests.relay import eventually
from tests.servers import Received, Reply, ScriptedServer


@dataclass(frozen=True)
class Collected:
    """One span, with its ids in hex; `parent_id` is empty at the root of a trace."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    links: tuple[str, ...]
    failed: bool
    service: str
    state: str
    attributes: dict[str, Any] = field(hash=False)
    wire: WireSpan = field(hash=False, repr=False)


class Collector:
    """What has come in so far."""

    def __init__(self) -> None:
        self.server = ScriptedServer(self._take)
        self.spans: list[Collected] = []
        self.bodies: list[bytes] = []

    @property
    def url(self) -> str:
        """What `OTEL_EXPORTER_OTLP_ENDPOINT` is set to."""
        return self.server.url

    def _take(self, request: Received) -> Reply:
        if (request.method, request.path) != ("POST", "/v1/traces"):
            return Reply(404)
        zipped = request.headers.get("content-encoding") == "gzip"
        body = gzip.decompress(request.body) if zipped else request.body
        self.bodies.append(body)
        self.spans += _spans(ExportTraceServiceRequest.FromString(body))
        return Reply(200, headers={"Content-Type": "application/x-protobuf"})

    def named(self, name: str, at_least: int = 1, timeout: float = 5) -> list[Collected]:
        """The spans of this name, in the order of their beginning, once there are so many."""
        assert eventually(
            lambda: sum(span.name == name for span in self.spans) >= at_least, timeout
        ), f"{at_least} of {name!r} among {[span.name for span in self.spans]}"
        found = [span for span in self.spans if span.name == name]
        return sorted(found, key=lambda span: span.wire.start_time_unix_nano)


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector for a block."""
    collector = Collector()
    try:
        yield collector
    finally:
        collector.server.close()


def _spans(request: ExportTraceServiceRequest) -> Iterator[Collected]:
    for resource in request.resource_spans:
        service = _values(resource.resource.attributes)["service.name"]
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield _collected(span, str(service))


def _collected(span: WireSpan, service: str) -> Collected:
    return Collected(
        name=span.name,
        kind=WireSpan.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        links=tuple(link.span_id.hex() for link in span.links),
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        service=service,
        state=span.trace_state,
        attributes=_values(span.attributes),
        wire=span,
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {pair.key: _value(pair) for pair in attributes}


def _value(pair: KeyValue) -> Any:
    kind = pair.value.WhichOneof("value")
    return getattr(pair.value, kind) if kind else None
