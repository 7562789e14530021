"""Finds where an HTTP/1 request ends in the bytes received so far.

Pure, and no parser: gunicorn parses the request once it is complete, and refuses what is malformed.
Requests that will be refused anyway (too large, malformed) end early, with what was received.
"""

from __future__ import annotations

import re

_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n")
_CHUNKED = b"\r\ntransfer-encoding:"
_EXPECTS = re.compile(rb"^[^\r]* http/1\.1\r\n(?:.*\r\n)?expect:[ \t]*100-continue[ \t]*\r\n", re.S)
_CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]{1,16})[ \t]*(?:;.*)?")
# gunicorn's own limit for the line in front of a chunk.
_LONGEST_LINE = 8190
# A reader in search of the limit of a body in chunks reads ahead, and must not run out before it.
_READ_AHEAD = 64 * 1024


class Framing:
    """The end of one request, looked for each time more of it arrives.

    `most_body` is the largest body to wait for: of a larger one, no more is awaited than shows
    that it is larger.
    """

    def __init__(self, most_body: int) -> None:
        self.expects_continue = False
        self._most_body = most_body
        self._head = 0
        self._length = 0
        self._chunked = False
        # How much has been searched: of the head, or the start of the next chunk.
        self._position = 0
        self._decoded = 0

    def end(self, received: bytearray) -> int | None:
        """The length of the request at the start of `received`, or None: wait for more.

        `received` must hold all that the call before had, and may hold more.
        """
        found = self._end(received)
        if found is None and len(received) > 2 * self._most_body:
            return len(received)  # an endless head, or chunks with more around them than in them
        return found

    def _end(self, received: bytearray) -> int | None:
        if not self._head and not self._find_head(received):
            return None
        if self._chunked:
            return self._end_of_chunks(received)
        if self._length > self._most_body:
            return self._head
        end = self._head + self._length
        return end if len(received) >= end else None

    def _find_head(self, received: bytearray) -> bool:
        found = received.find(_HEAD_END, self._position)
        if found < 0:
            self._position = max(0, len(received) - len(_HEAD_END) + 1)
            return False
        self._head = self._position = found + len(_HEAD_END)
        head = bytes(received[: self._head]).lower()
        self._chunked = _CHUNKED in head
        if length := _LENGTH.search(head):
            self._length = int(length[1])
        self.expects_continue = b"\r\nexpect:" in head and _EXPECTS.match(head) is not None
        return True

    def _end_of_chunks(self, received: bytearray) -> int | None:
        while True:
            line_end = received.find(b"\r\n", self._position)
            if line_end < 0:
                malformed = len(received) - self._position > _LONGEST_LINE
                return len(received) if malformed else None
            size = _CHUNK_SIZE.fullmatch(received, self._position, line_end)
            if size is None:
                return len(received)
            start, length = line_end + 2, int(size[1], 16)
            if length == 0:
                return _end_of_trailers(received, start)
            if self._decoded + min(length, len(received) - start) > self._most_body + _READ_AHEAD:
                return len(received)
            if len(received) < start + length + 2:
                return None
            self._decoded += length
            self._position = start + length + 2


def _end_of_trailers(received: bytearray, start: int) -> int | None:
    if received.startswith(b"\r\n", start):
        return start + 2
    found = received.find(_HEAD_END, start)
    if found >= 0:
        return found + len(_HEAD_END)
    return len(received) if len(received) - start > _LONGEST_LINE else None
