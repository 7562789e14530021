"""`traceparent` and `tracestate` as W3C Trace Context, Level 1, has them.

The cases follow the specification's own (https://www.w3.org/TR/trace-context-1/).
"""

from __future__ import annotations

import pytest

from app.observability import tracing

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
# A digit to Python, and no hexadecimal one.
ARABIC_ONE = "\N{ARABIC-INDIC DIGIT ONE}"
VALID = f"00-{TRACE}-{PARENT}-01"


def kept(traceparent: str | None, tracestate: str | None = None) -> str | None:
    """What is stored of these headers."""
    place = tracing.read_headers(traceparent, tracestate)
    return tracing.to_keep(place) if place else None


@pytest.mark.parametrize(
    ("header", "flags"),
    [
        (VALID, 1),
        (f"00-{TRACE}-{PARENT}-00", 0),
        (f" {VALID}\t", 1),
        # Level 2's "random" goes with the trace id.
        (f"00-{TRACE}-{PARENT}-03", 3),
        # Of a version to come, the four fields alone.
        (f"cc-{TRACE}-{PARENT}-01", 1),
        (f"cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like", 1),
        (f"cc-{TRACE}-{PARENT}-01-", 1),
        (f"fe-{TRACE}-{PARENT}-00", 0),
    ],
)
def test_valid_traceparent_is_understood(header: str, flags: int) -> None:
    assert kept(header) == f"00-{TRACE}-{PARENT}-{flags:02x}"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "nonsense",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        VALID.upper(),
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"0-{TRACE}-{PARENT}-01",
        f"000-{TRACE}-{PARENT}-01",
        f"0x-{TRACE}-{PARENT}-01",
        f"00-{TRACE[1:]}-{PARENT}-01",
        f"00-{TRACE}0-{PARENT}-01",
        f"00-{TRACE}-{PARENT[1:]}-01",
        f"00-{TRACE}-{PARENT}0-01",
        f"00-{TRACE}-{PARENT}-1",
        f"00-{TRACE}-{PARENT}-0g",
        f"00-{TRACE}-{PARENT}",
        f"{VALID}-",
        f"{VALID}-what-the-future-will-be-like",
        f"{VALID}.extra",
        f"cc-{TRACE}-{PARENT}-01.extra",
        f"cc-{TRACE}-{PARENT}-1",
        f"00_{TRACE}_{PARENT}_01",
        # The header twice, as a server joins it.
        f"{VALID},{VALID}",
        f"00-{ARABIC_ONE * 32}-{PARENT}-01",
    ],
)
def test_invalid_traceparent_is_as_good_as_none(header: str | None) -> None:
    assert kept(header, "vendor=value") is None


MANY = ",".join(f"k{number}=v" for number in range(32))
LONG = "long=" + "x" * 200


@pytest.mark.parametrize(
    ("header", "passed_on"),
    [
        ("vendor=value", "vendor=value"),
        ("foo=1,bar=2", "foo=1,bar=2"),
        ("foo=1 , \tbar=2,", "foo=1,bar=2"),
        (",,", ""),
        ("tenant@vendor=a b", "tenant@vendor=a b"),
        ("0tenant@vendor=1", "0tenant@vendor=1"),
        ("a_-*/0=!~", "a_-*/0=!~"),
        (MANY, MANY),
        # Malformed: the list is left out, and the trace goes on.
        (f"{MANY},one=more", ""),
        ("foo=1,foo=2", ""),
        ("foo", ""),
        ("=1", ""),
        ("foo=", ""),
        ("Foo=1", ""),
        ("foo=a=b", ""),
        ("foo =1", ""),
        ("0foo=1", ""),
        ("foo@=1", ""),
        ("foo=ü", ""),
        ("foo=1,bär=2", ""),
        (f"{'k' * 257}=1", ""),
        ("foo=" + "x" * 257, ""),
        # Longer than any header may be.
        ("a=" + ",".join(f"k{number}={'z' * 255}" for number in range(32)), ""),
    ],
)
def test_tracestate_is_passed_on_where_it_is_valid(header: str, passed_on: str) -> None:
    assert kept(VALID, header) == f"{VALID} {passed_on}".rstrip()


@pytest.mark.parametrize("state", ["", "vendor=a value,other=1"])
def test_what_is_kept_is_read_again(state: str) -> None:
    place = tracing.read_headers(VALID, state)
    assert place is not None
    assert tracing.read_kept(tracing.to_keep(place)) == place
    assert tracing.trace_id(place) == TRACE


def test_nothing_kept_is_no_trace() -> None:
    assert tracing.read_kept(None) is None


def test_malformed_headers_of_strangers_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert kept("0" * 600, None) is None
    assert kept(VALID, "no member") == VALID
    assert caplog.records == []
