"""What is thrown at the service: JSON and messages that are almost right."""

from __future__ import annotations

import json
import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from app.events import KNOWN_EVENT_NAMES
from tests.builders import make_message

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "45"))
fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

# With halves of surrogate pairs and zero bytes, which JSON can hold and databases cannot.
texts = st.one_of(
    st.text(st.characters(), max_size=20),
    st.sampled_from(["", " ", "\x00", "\ud800", "a" * 300, "../..", "' OR 1=1 --", "{{ 7*7 }}"]),
)
numbers = st.one_of(
    st.integers(),
    st.sampled_from([2**31, 2**63, -(2**63) - 1, 10**400]),
    st.floats(allow_nan=True, allow_infinity=True),
)
values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda below: st.one_of(st.lists(below, max_size=4), st.dictionaries(texts, below, max_size=4)),
    max_leaves=12,
)
SAMPLES = sorted(
    {*KNOWN_EVENT_NAMES, "dynamic-content.content-item.updated.archived"},
)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a document, but for the document itself."""
    found: list[tuple[Any, ...]] = []
    pairs: Any = ()
    if isinstance(document, dict):
        pairs = document.items()
    elif isinstance(document, list):
        pairs = enumerate(document)
    for key, value in pairs:
        found += [(*path, key), *places(value, (*path, key))]
    return found


@st.composite
def spoiled(draw: st.DrawFn) -> dict[str, Any]:
    """A sample of some event in which a few values are replaced, removed or added."""
    message = make_message(draw(st.sampled_from(SAMPLES)))
    # Few ids, so that repeats and conflicts come up as well.
    message["id"] = draw(st.one_of(st.sampled_from(["event-1", "event-2"]), st.uuids().map(str)))
    for _ in range(draw(st.integers(0, 4))):
        *above, last = draw(st.sampled_from(places(message)))
        target: Any = message
        for key in above:
            target = target[key]
        if draw(st.booleans()):
            target[last] = draw(values)
        elif isinstance(target, dict):
            del target[last]
            target[draw(texts)] = draw(values)
    return message


def encoded(document: Any) -> bytes:
    """JSON as Python writes it, with NaN and all."""
    return json.dumps(document).encode()
