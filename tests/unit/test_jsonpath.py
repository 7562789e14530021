"""Conditions speak all of JSONPath as RFC 9535 has it (https://www.rfc-editor.org/rfc/rfc9535).

The bookshop is the RFC's own example; the rest are the places where other libraries fall short.
"""

from __future__ import annotations

from typing import Any

import pytest

from app.config.settings import Condition
from app.events import CONTENT_ITEM_CREATED
from app.rules import explain
from tests.builders import localize_rule, make_event
from tests.config.loading import FILE_HUB, LOCALIZE_RULE, problems

STORE = {
    "book": [
        {"category": "reference", "author": "Nigel Rees", "price": 8.95},
        {"category": "fiction", "author": "Evelyn Waugh", "price": 12.99},
        {
            "category": "fiction",
            "author": "Herman Melville",
            "isbn": "0-553-21311-3",
            "price": 8.99,
        },
        {
            "category": "fiction",
            "author": "J. R. R. Tolkien",
            "isbn": "0-395-19395",
            "price": 22.99,
        },
    ],
    "bicycle": {"color": "red", "price": 399},
    "null": None,
    "😀": "Ж",
}


def found(path: str) -> Any:
    """The values that a condition finds; it asks for one that is not there, which is told."""
    condition = Condition(path, "equal", ("not there",))
    event = make_event(CONTENT_ITEM_CREATED, store=STORE)
    [explanation] = explain(event, [localize_rule(match=(condition,))])
    return explanation.found


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("$.payload.store.book[?@.price < 9].author", ["Nigel Rees", "Herman Melville"]),
        ("$.payload.store.book[?@.isbn && @.price > 10].author", ["J. R. R. Tolkien"]),
        ("$.payload.store.book[?!@.isbn].author", ["Nigel Rees", "Evelyn Waugh"]),
        ("$.payload.store.book[?length(@.author) == 10].price", [8.95]),
        ("$.payload.store.book[0:2].price", [8.95, 12.99]),
        ("$.payload.store.book[::-2].price", [22.99, 12.99]),
        ("$.payload.store.book[-1].price", [22.99]),
        ("$.payload.store.book[0,3].price", [8.95, 22.99]),
        ("$.payload.store.book[*].price", [8.95, 12.99, 8.99, 22.99]),
        ("$.payload.store.bicycle.*", ["red", 399]),
        ("$.payload.store['bicycle']['color']", ["red"]),
        ("$.payload.store..isbn", ["0-553-21311-3", "0-395-19395"]),
        ("$.payload.store..book[2].author", ["Herman Melville"]),
        ("$.payload.store.nothing", []),
        ("$.payload.store.book[9]", []),
        ("$.payload.store.book.author", []),
        # Names that are words of the language, or beyond Unicode's first plane.
        ("$.payload.store..null", [None]),
        ("$.payload.store.😀", ["Ж"]),
        # I-Regexp (RFC 9485), with Unicode's classes.
        (r"$.payload.store[?match(@, '\\p{Lu}')]", ["Ж"]),
        ("$.payload.store.book[?search(@.author, 'R[.] R')].price", [22.99]),
    ],
)
def test_query_finds_what_the_rfc_says(path: str, values: list[Any]) -> None:
    assert found(path) == values


@pytest.mark.parametrize(
    "path",
    [
        "payload.region",
        "$.payload[",
        "$.payload['region",
        "$.payload[?@.a = 1]",
        "$.payload[1:2:3:4]",
        "$.payload.a-",
        "$.payload[31e528]",
        "$.payload[?@ == 1e400]",
        "$.payload[?length(@) > ]",
        "$.payload[?nosuch(@)]",
        "$.a | $.b",
    ],
)
def test_query_that_is_none_is_refused_at_load(path: str) -> None:
    condition = f'match = [{{ path = "{path}", exists = true }}]'
    (problem,) = problems({}, FILE_HUB + LOCALIZE_RULE + condition)
    assert "path" in problem.place
    assert "not a JSONPath (RFC 9535)" in problem.message
