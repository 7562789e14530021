from __future__ import annotations

import pytest

from app.web.framing import Framing

MOST = 300_000
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

REQUESTS = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"\r\nGET / HTTP/1.0\r\n\r\n",
    POST + b"content-LENGTH:3 \r\n\r\nabc",
    POST + b"X: \r\nContent-Length:\t0\r\n\r\n",
    CHUNKED + b"0\r\n\r\n",
    CHUNKED + b"3\r\n\r\n\r\r\nA;name=value\r\n0123456789\r\n0\r\n\r\n",
    CHUNKED + b"1 \r\na\r\n000\r\nTrailer: x\r\nAnother: y\r\n\r\n",
]


def ends(data: bytes, step: int) -> list[tuple[int, int]]:
    """How much had been received when the end was found, and where it was."""
    framing, received = Framing(MOST), bytearray()
    for start in range(0, len(data), step):
        received += data[start : start + step]
        if (end := framing.end(received)) is not None:
            return [(len(received), end)]
    return []


@pytest.mark.parametrize("request_bytes", REQUESTS)
def test_end_is_found_with_the_last_byte_however_it_arrives(request_bytes: bytes) -> None:
    whole = len(request_bytes)
    assert ends(request_bytes, 1) == [(whole, whole)]
    assert ends(request_bytes[:-1], 1) == []
    for step in (2, 3, 7, whole):
        [(_, end)] = ends(request_bytes, step)
        assert end == whole
    # What follows is another request.
    assert Framing(MOST).end(bytearray(request_bytes + REQUESTS[0])) == whole


@pytest.mark.parametrize(
    "malformed",
    [
        CHUNKED + b"nonsense\r\n",
        CHUNKED + b"-1\r\n",
        CHUNKED + b"\r\n",
        CHUNKED + b"1" * 9000,
        CHUNKED + b"0\r\nTrailer: " + b"x" * 9000,
        CHUNKED + b"1" + b";" * 8000 + b"\r\nx\r\n1" + b";" * 9000,
        CHUNKED + b"%x\r\n" % (2 * MOST) + b"x" * (MOST + 70_000),
        CHUNKED + b"1;ex=12345678\r\nx\r\n" * 60_000,
        POST + b"X: x\r\n" * 200_000,
    ],
)
def test_nothing_more_is_awaited_of_what_will_be_refused(malformed: bytes) -> None:
    assert Framing(MOST).end(bytearray(malformed)) == len(malformed)


@pytest.mark.parametrize("length", [MOST + 1, 10**17, 10**40])
def test_no_body_is_awaited_that_announces_itself_as_too_large(length: int) -> None:
    head = POST + b"Content-Length: %d\r\n\r\n" % length
    assert Framing(MOST).end(bytearray(head)) == len(head)


@pytest.mark.parametrize(
    ("head", "expects"),
    [
        (POST + b"Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n", True),
        (POST + b"Content-Length: 1\r\nExpect:100-continue\r\n\r\n", True),
        (
            POST.replace(b"1.1", b"1.0") + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\n",
            False,
        ),
        (POST + b"Expect: something-else\r\nContent-Length: 1\r\n\r\n", False),
        (POST + b"X: expect: 100-continue\r\nContent-Length: 1\r\n\r\n", False),
    ],
)
def test_client_that_asks_whether_to_go_on_is_recognized(head: bytes, expects: bool) -> None:
    framing = Framing(MOST)
    assert framing.end(bytearray(head)) is None
    assert framing.expects_continue is expects
