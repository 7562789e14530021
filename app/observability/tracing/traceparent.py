"""The headers `traceparent` and `tracestate`: reading, keeping and forming them. Pure.

W3C Trace Context, Level 1 (https://www.w3.org/TR/trace-context-1/). What is malformed is as good as
missing, never an error: a trace must not be able to stop a webhook. This module must not know where
headers come from or go to.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, replace

# Of a version that we do not know only the four fields are read, and what follows is left alone
# (https://www.w3.org/TR/trace-context-1/#versioning-of-traceparent).
_TRACEPARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_KNOWN_VERSION, _NO_VERSION = "00", "ff"
# The sampled flag, and Level 2's "this trace id is random", which holds for as long as the id does.
# All others must be sent as zero (https://www.w3.org/TR/trace-context-1/#other-flags).
_SAMPLED, _KNOWN_FLAGS = 0x01, 0x03

# https://www.w3.org/TR/trace-context-1/#tracestate-header-field-values
_KEY = r"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
_VALUE = r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_MEMBER = re.compile(rf"(?P<key>{_KEY})={_VALUE}")
_MOST_MEMBERS = 32
# What everybody should pass on, and what is left out first where a list is longer
# (https://www.w3.org/TR/trace-context-1/#tracestate-limits).
_LONGEST_STATE = 512
_LONG_MEMBER = 128


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A place in a trace: what `traceparent` names, and the `tracestate` that came with it.

    `str` of it is the form that is kept: `traceparent`, and after a blank the `tracestate`.
    """

    trace_id: str
    parent_id: str
    flags: int = 0
    state: str = ""

    @property
    def traceparent(self) -> str:
        """The header's value, in the version that we know."""
        return f"{_KNOWN_VERSION}-{self.trace_id}-{self.parent_id}-{self.flags:02x}"

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a request that is made at this place."""
        state = {"tracestate": self.state} if self.state else {}
        return {"traceparent": self.traceparent, **state}

    def __str__(self) -> str:
        return f"{self.traceparent} {self.state}".rstrip()

    def child(self) -> TraceContext:
        """The place of a request that is made from here: a new parent id in the same trace."""
        return replace(self, parent_id=_new_id())


def read_headers(traceparent: str | None, tracestate: str | None = None) -> TraceContext | None:
    """The place that a caller's headers name; None where there is no valid `traceparent`.

    An invalid `tracestate` is left out, and the trace goes on without it.
    """
    found = _TRACEPARENT.fullmatch((traceparent or "").strip(" \t"))
    if found is None or found["version"] == _NO_VERSION:
        return None
    is_known = found["version"] == _KNOWN_VERSION
    if is_known and found["more"]:
        return None
    if not found["trace"].strip("0") or not found["parent"].strip("0"):
        return None
    flags = int(found["flags"], 16) & (_KNOWN_FLAGS if is_known else _SAMPLED)
    return TraceContext(found["trace"], found["parent"], flags, _state(tracestate or ""))


def read_kept(kept: str | None) -> TraceContext | None:
    """The place that was kept as `str` of it; None where nothing was."""
    traceparent, _, tracestate = (kept or "").partition(" ")
    return read_headers(traceparent, tracestate)


def trace_id_of(kept: str | None) -> str | None:
    """The id of the trace that was kept, if any."""
    found = read_kept(kept)
    return found.trace_id if found else None


def _state(text: str) -> str:
    """The list as it may be passed on, in its order; empty where any part of it is malformed."""
    members = [member for part in text.split(",") if (member := part.strip(" \t"))]
    matches = [_MEMBER.fullmatch(member) for member in members]
    keys = {found["key"] for found in matches if found}
    # Fewer keys than members: one is malformed, or there twice.
    if len(members) > _MOST_MEMBERS or len(keys) < len(members):
        return ""
    return ",".join(_fitting(members))


def _fitting(members: list[str]) -> list[str]:
    """As many members as may be sent: not the long ones, then not the last, which are oldest."""
    if len(",".join(members)) > _LONGEST_STATE:
        members = [member for member in members if len(member) <= _LONG_MEMBER]
    while len(",".join(members)) > _LONGEST_STATE:
        members.pop()
    return members


def _new_id() -> str:
    # All zeros would be invalid, and may come.
    while not (made := secrets.token_hex(8)).strip("0"):
        pass
    return made
