"""Is this content that version of the item? What counts as the same, and what does not."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.actions.freshness import in_locale, is_version
from app.events import ContentItem
from sandbox import graph

ITEM = "5b0e6d3a-7c1f-4c0e-9e55-1f2a3b4c5d6e"
SLIDE = "7c1f6d3a-5b0e-4c0e-9e55-1f2a3b4c5d6e"
SCHEMA = "https://schema-examples.com/banner"
CORE = "http://bigcontent.io/cms/schema/v1/core#/definitions/"
META = {"name": "spring-banner", "schema": SCHEMA}
LINK = {"_meta": {"schema": f"{CORE}content-link"}, "contentType": SCHEMA, "id": SLIDE}
INLINED = {"_meta": {"name": "slide", "schema": SCHEMA, "deliveryId": SLIDE}, "headline": "Hats"}
REFERENCE = {"_meta": {"schema": f"{CORE}content-reference"}, "contentType": SCHEMA, "id": SLIDE}


def localized(**values: Any) -> dict[str, Any]:
    """A localized value; `_` in a name stands for `-`."""
    entries = [{"locale": n.replace("_", "-"), "value": value} for n, value in values.items()]
    return {"_meta": {"schema": f"{CORE}localized-value"}, "values": entries}


def image(**changes: Any) -> dict[str, Any]:
    meta = {"schema": f"{CORE}image-link"}
    made = {"_meta": meta, "id": "1", "name": "hat", "endpoint": "e", "defaultHost": "i8.amplience"}
    return {**made, **changes}


def item(body: dict[str, Any]) -> ContentItem:
    return ContentItem(id=ITEM, version=2, body={"_meta": META, **body})


def same(
    content: dict[str, Any],
    body: dict[str, Any],
    *,
    meta: dict[str, Any] | None = None,
    **options: Any,
) -> bool:
    """Compare two bodies that are given without `_meta`; the content's own gets `meta` as well."""
    delivered = {"_meta": {**META, "deliveryId": ITEM, **(meta or {})}, **content}
    return is_version(delivered, item(body), **options)


SAME: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nothing but meta": ({}, {}),
    "order of properties": ({"a": 1, "b": {"c": 1, "d": 2}}, {"b": {"d": 2, "c": 1}, "a": 1}),
    "whole and broken number": ({"a": 1}, {"a": 1.0}),
    "null and missing": ({"a": {"b": None}}, {"a": {}, "c": None}),
    "link and stub": ({"slides": [LINK]}, {"slides": [LINK]}),
    "item in place of the link": ({"slides": [INLINED]}, {"slides": [LINK]}),
    "link deep inside": ({"a": [{"b": INLINED}]}, {"a": [{"b": LINK}]}),
    "reference": ({"a": REFERENCE}, {"a": REFERENCE}),
    "all locales": ({"a": localized(en_GB="x", fr="y")}, {"a": localized(en_GB="x", fr="y")}),
    "link in a locale": ({"a": localized(en_GB=INLINED)}, {"a": localized(en_GB=LINK)}),
}


@pytest.mark.parametrize("case", SAME)
def test_same_version_is_recognized(case: str) -> None:
    assert same(*SAME[case])


DIFFERENT: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "text": ({"a": "old"}, {"a": "new"}),
    "property added": ({}, {"a": "new"}),
    "property taken away": ({"a": "old"}, {}),
    "true is not 1": ({"a": 1}, {"a": True}),
    "false is not 0": ({"a": False}, {"a": 0}),
    "number is no text": ({"a": 1}, {"a": "1"}),
    "empty is not null": ({"a": ""}, {"a": None}),
    "empty list is not null": ({"a": []}, {}),
    "order of a list": ({"a": [1, 2]}, {"a": [2, 1]}),
    "shorter list": ({"a": [1]}, {"a": [1, 1]}),
    "list is no object": ({"a": [{"b": 1}]}, {"a": {"b": 1}}),
    "link to another item": ({"a": LINK}, {"a": {**LINK, "id": "another"}}),
    "another item in place": (
        {"a": {**INLINED, "_meta": {**INLINED["_meta"], "deliveryId": "another"}}},  # type: ignore[dict-item]
        {"a": LINK},
    ),
    "link is no plain object": ({"a": {"id": SLIDE}}, {"a": LINK}),
    "reference to another item": ({"a": REFERENCE}, {"a": {**REFERENCE, "id": "another"}}),
    "reference is no link": ({"a": REFERENCE}, {"a": LINK}),
    "one locale's value": ({"a": localized(en="x", fr="y")}, {"a": localized(en="x", fr="z")}),
    "image": ({"a": image()}, {"a": image(name="beret")}),
    "host of an image": ({"a": image(defaultHost="other")}, {"a": image()}),
    "nested meta": ({"a": {"_meta": {"schema": "x"}}}, {"a": {"_meta": {"schema": "y"}}}),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_other_version_is_not_taken_for_the_same(case: str) -> None:
    assert not same(*DIFFERENT[case])


@pytest.mark.parametrize(
    ("own", "delivered", "expected"),
    [
        ({}, {"edition": {"id": "e"}, "lifecycle": {"expiryTime": "t"}}, True),
        ({"hierarchy": {"root": True}}, {"hierarchy": {"root": True, "position": "0001"}}, True),
        ({"deliveryKey": "a"}, {}, True),
        ({}, {"deliveryKeys": {"values": [{"value": "a"}]}}, True),
        ({"deliveryKey": None}, {"deliveryKey": "a"}, True),
        ({"deliveryKey": "a"}, {"deliveryKey": "a"}, True),
        ({"deliveryKey": "new"}, {"deliveryKey": "old"}, False),
        ({"name": "new"}, {"name": "old"}, False),
        ({"schema": "https://new"}, {"schema": "https://old"}, False),
        ({}, {"deliveryId": "another-item"}, False),
    ],
)
def test_meta_of_the_item_is_compared_where_both_sides_have_it(
    own: dict[str, Any], delivered: dict[str, Any], expected: bool
) -> None:
    version = ContentItem(id=ITEM, version=2, body={"_meta": {**META, **own}})
    content = {"_meta": {**META, "deliveryId": ITEM, **delivered}}
    assert is_version(content, version) is expected


def test_host_of_media_counts_for_nothing_on_staging_and_only_there() -> None:
    hosted = {"a": [image(defaultHost="x.staging.bigcontent.io")]}
    assert same(hosted, {"a": [image()]}, any_media_host=True)
    assert not same(hosted, {"a": [image(endpoint="f")]}, any_media_host=True)
    plain = {"a": {"defaultHost": "x"}}
    assert not same(plain, {"a": {"defaultHost": "y"}}, any_media_host=True)


BOTH = localized(en_GB="colour", en_US="color", fr_FR="couleur")


@pytest.mark.parametrize(
    ("locale", "values", "shown"),
    [
        ("en-US", BOTH, "color"),
        ("en-*", BOTH, "colour"),
        ("*", BOTH, "colour"),
        ("*", localized(en_GB=None, fr_FR="couleur"), "couleur"),
        ("de-DE", BOTH, None),
        ("de-DE,fr-FR", BOTH, "couleur"),
        ("de-*,fr-*,*", BOTH, "couleur"),
        ("fr-FR,en-GB", localized(fr_FR=None, en_GB="colour"), "colour"),
        ("en-gb", BOTH, None),
        ("e-*", BOTH, None),
        ("en-GB", localized(), None),
    ],
)
def test_locale_chooses_one_value_of_each_property(
    locale: str, values: dict[str, Any], shown: str | None
) -> None:
    body = {"_meta": META, "a": values, "b": [{"c": values}], "d": "same for all"}
    chosen = in_locale(body, locale)
    assert chosen == {"_meta": META, "a": shown, "b": [{"c": shown}], "d": "same for all"}
    assert same({"a": shown, "d": "x"}, {"a": values, "d": "x"}, locale=locale)
    assert not same({"a": "other", "d": "x"}, {"a": values, "d": "x"}, locale=locale)


def test_old_value_of_another_locale_does_not_matter() -> None:
    assert same({"a": "couleur"}, {"a": localized(fr_FR="couleur", de_DE="neu")}, locale="fr-FR")


LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
)
NAMES = st.text("abc", min_size=1, max_size=2)


def _localized_values(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.sampled_from(["en_GB", "en_US", "fr_FR"])
    return st.dictionaries(names, parts, max_size=3).map(lambda values: localized(**values))


PARTS = st.recursive(
    LEAVES | st.just(LINK) | st.just(REFERENCE) | st.just(image()),
    lambda parts: (
        st.lists(parts, max_size=3)
        | st.dictionaries(NAMES, parts, max_size=3)
        | _localized_values(parts)
    ),
    max_leaves=12,
)
BODIES = st.dictionaries(NAMES, PARTS, min_size=1, max_size=4).map(
    lambda body: {"_meta": dict(META), **body}
)
LOCALES = st.none() | st.sampled_from(["en-GB", "fr-*", "*", "fr-FR,en-*", "de-DE"])


def rendered(body: dict[str, Any], locale: str | None) -> dict[str, Any]:
    """What the sandbox's Content Delivery 2 makes of a body, with linked items inside."""
    content = graph.delivered(ITEM, copy.deepcopy(body))
    content = graph.in_locale(content, locale.split(",")) if locale else content  # type: ignore[assignment]
    found = graph.inlined(content, 22, lambda _: copy.deepcopy(INLINED), frozenset({ITEM}))
    assert isinstance(found, dict)
    return found


@given(body=BODIES, locale=LOCALES)
def test_what_delivery_makes_of_a_body_is_that_version(
    body: dict[str, Any], locale: str | None
) -> None:
    version = ContentItem(id=ITEM, version=2, body=body)
    assert is_version(rendered(body, locale), version, locale=locale)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of each text, number and truth value, but not inside links and the item's meta."""
    if path == ("_meta",) or (isinstance(value, dict) and graph.is_link(value)):
        return []
    if isinstance(value, dict):
        return [place for name, part in value.items() for place in leaves(part, (*path, name))]
    if isinstance(value, list):
        return [place for at, part in enumerate(value) for place in leaves(part, (*path, at))]
    return [path]


def changed(body: dict[str, Any], path: tuple[Any, ...]) -> dict[str, Any]:
    made = copy.deepcopy(body)
    parent: Any = made
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = ["something", "else"]
    return made


@given(body=BODIES, choice=st.randoms(use_true_random=False))
def test_any_changed_leaf_makes_it_another_version(body: dict[str, Any], choice: Any) -> None:
    if places := leaves(body):
        other = changed(body, choice.choice(places))
        version = ContentItem(id=ITEM, version=2, body=body)
        assert not is_version(rendered(other, None), version)
