"""`traceparent` and `tracestate` as W3C Trace Context, Level 1, has them.

The cases follow the specification's own (https://www.w3.org/TR/trace-context-1/).
"""

from __future__ import annotations

import re

import pytest

from app.observability.tracing import TraceContext, read_headers, read_kept, trace_id_of

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
# A digit to Python, and no hexadecimal one.
ARABIC_ONE = "\N{ARABIC-INDIC DIGIT ONE}"
VALID = f"00-{TRACE}-{PARENT}-01"


@pytest.mark.parametrize(
    ("header", "flags"),
    [
        (VALID, 1),
        (f"00-{TRACE}-{PARENT}-00", 0),
        (f" {VALID}\t", 1),
        # Level 2's "random" goes with the trace id; flags that nobody knows are sent as zero.
        (f"00-{TRACE}-{PARENT}-03", 3),
        (f"00-{TRACE}-{PARENT}-ff", 3),
        # Of a version to come, the four fields and the sampled flag alone.
        (f"cc-{TRACE}-{PARENT}-01", 1),
        (f"cc-{TRACE}-{PARENT}-03", 1),
        (f"cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like", 1),
        (f"cc-{TRACE}-{PARENT}-01-", 1),
        (f"fe-{TRACE}-{PARENT}-00", 0),
    ],
)
def test_valid_traceparent_is_understood(header: str, flags: int) -> None:
    assert read_headers(header) == TraceContext(TRACE, PARENT, flags)


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
        f"{VALID}\n",
        f"00-{ARABIC_ONE * 32}-{PARENT}-01",
    ],
)
def test_invalid_traceparent_is_as_good_as_none(header: str | None) -> None:
    assert read_headers(header, "vendor=value") is None


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
        # Too long to be sent on: the long ones go first, then the last.
        (f"a=1,{LONG},b={'y' * 100},{LONG.replace('long', 'more')}", f"a=1,b={'y' * 100}"),
        (
            ",".join(f"k{number}={'z' * 96}" for number in range(9)),
            ",".join(f"k{number}={'z' * 96}" for number in range(5)),
        ),
    ],
)
def test_tracestate_is_passed_on_where_it_is_valid(header: str, passed_on: str) -> None:
    found = read_headers(VALID, header)
    assert found is not None
    assert found.state == passed_on


def test_child_is_of_the_same_trace_with_an_id_of_its_own() -> None:
    found = read_headers(f"cc-{TRACE}-{PARENT}-01-more", "vendor=value")
    assert found is not None
    made = [found.child().headers for _ in range(100)]
    assert {headers["tracestate"] for headers in made} == {"vendor=value"}
    ids = set()
    for headers in made:
        parts = re.fullmatch(rf"00-{TRACE}-([0-9a-f]{{16}})-01", headers["traceparent"])
        assert parts
        ids.add(parts[1])
    assert len(ids - {PARENT}) == 100


def test_no_tracestate_is_sent_where_there_is_none() -> None:
    assert TraceContext(TRACE, PARENT).headers == {"traceparent": f"00-{TRACE}-{PARENT}-00"}


@pytest.mark.parametrize("state", ["", "vendor=a value,other=1"])
def test_what_is_kept_is_read_again(state: str) -> None:
    place = TraceContext(TRACE, PARENT, 1, state)
    assert read_kept(str(place)) == place
    assert trace_id_of(str(place)) == TRACE


def test_nothing_kept_is_no_trace() -> None:
    assert read_kept(None) is None
    assert trace_id_of(None) is None
