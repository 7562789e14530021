"""Linked content in the place of its links is what `inlined` answers."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from app.amplience.linking import CONTENT_LINK, link_tree

SCHEMAS = "https://schema.example.com"
REFERENCE = "http://bigcontent.io/cms/schema/v1/core#/definitions/content-reference"


def item(name: str, **fields: Any) -> dict[str, Any]:
    meta = {"name": name, "schema": f"{SCHEMAS}/{name}.json", "deliveryId": f"id-{name}"}
    return {"_meta": meta, **fields}


def link(name: str) -> dict[str, Any]:
    return {
        "_meta": {"schema": CONTENT_LINK},
        "contentType": f"{SCHEMAS}/{name}.json",
        "id": f"id-{name}",
    }


# A carousel of slides: two levels, one item linked twice, links in lists and in objects.
IMAGE = item("image", image={"id": "i1", "name": "beret"}, title="A beret")
SLIDE = item("slide", headline="Warm hats", media={"picture": link("image")})
BANNER = item("banner", headline="Scarves")
CAROUSEL = item(
    "carousel", slides=[link("slide"), link("banner"), link("slide")], hero=link("image")
)
SLIDE_WITH_IMAGE = item("slide", headline="Warm hats", media={"picture": IMAGE})


def test_links_of_all_levels_are_filled_in() -> None:
    assert link_tree(CAROUSEL, [IMAGE, BANNER, SLIDE]) == item(
        "carousel", slides=[SLIDE_WITH_IMAGE, BANNER, SLIDE_WITH_IMAGE], hero=IMAGE
    )


def test_deeper_links_stay_links() -> None:
    # With depth 1 the image comes along, because it is linked at the first level, too.
    assert link_tree(CAROUSEL, [IMAGE, BANNER, SLIDE], depth=1) == item(
        "carousel", slides=[SLIDE, BANNER, SLIDE], hero=IMAGE
    )


def test_root_stays_as_it_is() -> None:
    assert link_tree(CAROUSEL, None) == CAROUSEL
    assert link_tree(CAROUSEL, [IMAGE, BANNER, SLIDE], depth=0) == CAROUSEL


def test_missing_item_stays_a_link() -> None:
    assert link_tree(CAROUSEL, [BANNER, SLIDE])["hero"] == link("image")


def test_item_within_itself_stays_a_link() -> None:
    parent = item("parent", child=link("child"))
    child = item("child", back=link("parent"), self=link("child"), other=link("other"))
    other = item("other", back=link("child"))
    assert link_tree(parent, [child, other]) == item(
        "parent",
        child=item(
            "child",
            back=link("parent"),
            self=link("child"),
            other=item("other", back=link("child")),
        ),
    )


@pytest.mark.parametrize(
    "part",
    [
        {"_meta": {"schema": REFERENCE}, "contentType": "x", "id": "id-image"},
        {"_meta": {"schema": CONTENT_LINK}},
        {"_meta": {"schema": CONTENT_LINK}, "id": None},
        {"_meta": None, "id": "id-image"},
        {"id": "id-image"},
        "id-image",
        None,
        [],
        3,
    ],
)
def test_what_is_no_content_link_is_not_followed(part: Any) -> None:
    content = item("page", part=part)
    assert link_tree(content, [IMAGE]) == content


@pytest.mark.parametrize("odd", [None, "text", {}, {"_meta": {}}, {"_meta": {"deliveryId": 3}}])
def test_linked_content_that_is_odd_does_no_harm(odd: Any) -> None:
    assert link_tree(CAROUSEL, [odd, IMAGE])["hero"] == IMAGE


def test_what_is_handed_in_is_not_changed() -> None:
    content, linked = copy.deepcopy(CAROUSEL), copy.deepcopy([IMAGE, BANNER, SLIDE])
    link_tree(content, linked)
    assert (content, linked) == (CAROUSEL, [IMAGE, BANNER, SLIDE])
