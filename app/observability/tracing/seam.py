"""Where spans begin and end, and what outgoing requests carry of a trace.

A module of functions, as counters and error reports are: `webhook` around a request, `attempt`
around an attempt of a job, `call` around a request that the attempt makes. Without a collector the
tracer passes on what a caller sent, and makes up nothing: a `traceparent` of our own that says
"not sampled" would have the services behind us drop their traces. This module must not know what a
job or a destination is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, Protocol

from structlog.contextvars import bound_contextvars

from app.observability.tracing.traceparent import TraceContext, read_kept

# As OpenTelemetry has them: who answers, who works on what was kept, who asks, who puts in a queue.
Kind = Literal["server", "consumer", "client", "producer"]
Attributes = Mapping[str, str | int | float | bool | None]


class Span(Protocol):
    """One step that is traced. Attributes that are None are left out."""

    @property
    def context(self) -> TraceContext | None:
        """The place that what follows from this step goes on from; None outside of any trace."""

    def add(self, attributes: Attributes) -> None:
        """Say more of the step."""

    def fail(self, why: str) -> None:
        """Say that the step failed, in a word without secrets."""

    def end(self) -> None:
        """The step is over."""


class Tracer(Protocol):
    """Makes spans, and hands them on."""

    def start(
        self,
        kind: Kind,
        name: str,
        *,
        parent: TraceContext | None,
        attributes: Attributes,
        links: Sequence[TraceContext] = (),
    ) -> Span:
        """Begin a step below `parent`."""

    def close(self) -> None:
        """Hand on what is left, for a moment at most."""


class _NoSpan:
    """A step that nobody is told of."""

    __slots__ = ("context",)

    def __init__(self, context: TraceContext | None) -> None:
        self.context = context

    def add(self, attributes: Attributes) -> None:
        """Nothing."""

    def fail(self, why: str) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


class NoTracer:
    """Passes traces on and tells nobody of them."""

    def start(
        self,
        kind: Kind,
        name: str,  # noqa: ARG002 - as in Tracer
        *,
        parent: TraceContext | None,
        attributes: Attributes,  # noqa: ARG002
        links: Sequence[TraceContext] = (),  # noqa: ARG002
    ) -> Span:
        """Begin nothing. A request of ours has an id of its own below the caller's all the same."""
        asks = kind in ("client", "producer")
        return _NoSpan(parent.child() if parent and asks else parent)

    def close(self) -> None:
        """Nothing is left."""


_tracer: Tracer = NoTracer()
# Of the attempt that this thread works on.
_here: ContextVar[TraceContext | None] = ContextVar("trace_context", default=None)
_beside: ContextVar[tuple[TraceContext, ...]] = ContextVar("trace_links", default=())


def use(tracer: Tracer) -> None:
    """Trace with this from now on; what was used before is closed."""
    global _tracer
    before, _tracer = _tracer, tracer
    before.close()


def close() -> None:
    """Hand on what is left and trace no more. At the end of a process; lasts seconds at most."""
    use(NoTracer())


def is_on() -> bool:
    """Whether anybody is told of spans."""
    return not isinstance(_tracer, NoTracer)


def webhook(name: str, *, parent: TraceContext | None, attributes: Attributes) -> Span:
    """Begin to answer a webhook; what it leads to goes on from the span's `context`."""
    return _tracer.start("server", name, parent=parent, attributes=attributes)


@contextmanager
def attempt(name: str, *, kept: str | None, attributes: Attributes) -> Iterator[Span]:
    """Trace what this thread does inside the block as an attempt for an event.

    `kept` is the place in a trace that was kept with the event. Log lines inside have the trace's
    id as `trace_id`.
    """
    span = _tracer.start("consumer", name, parent=read_kept(kept), attributes=attributes)
    token = _here.set(span.context)
    try:
        with bound_contextvars(**({"trace_id": span.context.trace_id} if span.context else {})):
            yield span
    finally:
        _here.reset(token)
        span.end()


@contextmanager
def call(
    method: str, host: str, *, path: str | None = None, kind: Kind = "client"
) -> Iterator[Span]:
    """Trace one request to another service; the block sends the headers of `context`, if any.

    Outside of an attempt nothing is traced. `host` may have a port. `path` only where nothing in it
    can be secret; a query never.
    """
    parent = _here.get()
    if parent is None:
        yield _NoSpan(None)
        return
    verb = "http.request.method" if kind == "client" else "messaging.operation.name"
    attributes = {verb: method, **_place(host), "url.path": path}
    span = _tracer.start(kind, method, parent=parent, attributes=attributes, links=_beside.get())
    try:
        yield span
    except Exception as problem:
        span.fail(type(problem).__name__)
        raise
    finally:
        span.end()


def here() -> TraceContext | None:
    """Where in a trace this thread is."""
    return _here.get()


@contextmanager
def on_behalf_of(others: Iterable[TraceContext | None]) -> Iterator[None]:
    """Make requests in the block for these as well; they are linked to.

    A request has one `traceparent`: it is of this thread's own trace, or of the first other one
    where it has none.
    """
    own = _here.get()
    beside = tuple(other for other in others if other and other != own)
    tokens = _here.set(own or next(iter(beside), None)), _beside.set(beside)
    try:
        yield
    finally:
        _here.reset(tokens[0])
        _beside.reset(tokens[1])


def answered(span: Span, status: int) -> None:
    """Say what a request that was made in `call` was answered."""
    span.add({"http.response.status_code": status})
    if status >= 400:
        # https://opentelemetry.io/docs/specs/semconv/http/http-spans/#status
        span.fail(str(status))


def _place(host: str) -> Attributes:
    name, _, port = host.rpartition(":") if host.rpartition(":")[2].isdigit() else (host, "", "")
    return {"server.address": name.strip("[]") or None, "server.port": int(port) if port else None}
