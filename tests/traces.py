"""A caller's place in a trace, and how to tell that something goes on from there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from app.observability import tracing

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
STATE = "vendor=a1,other=b2"


@contextmanager
def within_a_trace(trace: str = TRACE) -> Iterator[None]:
    """Work as an attempt does whose event came with a `traceparent`."""
    kept = f"00-{trace}-{PARENT}-01 {STATE}"
    with tracing.attempt("attempt", kept=kept, attributes={}):
        yield


def assert_continues(traceparent: str | None) -> None:
    """It is the caller's: without spans of our own it is passed on as it came."""
    assert traceparent == TRACEPARENT
