from collections.abc import Callable

import pytest
import requests

from .client import LINK, Client, Json, link

LOCALIZED = "http://bigcontent.io/cms/schema/v1/core#/definitions/localized-value"


def localized(**values: str | None) -> Json:
    pairs = [{"locale": name.replace("_", "-"), "value": text} for name, text in values.items()]
    return {"_meta": {"schema": LOCALIZED}, "values": pairs}


def carousel(client: Client) -> tuple[Json, Json, Json]:
    """Publish a carousel that links to a slide that links to an image."""
    image = client.create({"alt": "A hat"}, label="image")
    slide = client.create({"headline": "Hats", "image": link(image)}, label="slide")
    meta = {"deliveryKey": "promotions/feature-carousel"}
    root = client.create({"_meta": meta, "slides": [link(slide)]}, label="carousel")
    client.publish(root["id"])
    return root, slide, image


def test_an_item_is_read_by_id_and_by_key(client: Client) -> None:
    root, slide, _ = carousel(client)
    answer = client.get(f"/cdn/content/id/{root['id']}")
    assert answer == {
        "content": {
            "_meta": {
                "name": "Banner",
                "schema": "https://schema.example.com/banner.json",
                "deliveryKey": "promotions/feature-carousel",
                "deliveryId": root["id"],
            },
            "slides": [link(slide)],
        }
    }
    for place in ("cdn", "fresh", "staging"):
        assert client.get(f"/{place}/content/key/promotions/feature-carousel") == answer


def test_an_item_is_read_by_any_of_several_keys(client: Client) -> None:
    item = client.create({"_meta": {"deliveryKeys": {"values": [{"value": "a"}, {"value": "b"}]}}})
    client.publish(item["id"])
    for key in ("a", "b"):
        assert client.get(f"/fresh/content/key/{key}")["content"]["_meta"]["name"] == "Banner"


@pytest.mark.parametrize(
    ("depth", "ids"), [("root", []), ("0", []), ("1", [1]), ("2", [1, 2]), ("all", [1, 2])]
)
def test_linked_content_is_opened_to_a_depth(client: Client, depth: str, ids: list[int]) -> None:
    made = carousel(client)
    answer = client.get(f"/fresh/content/id/{made[0]['id']}", depth=depth)
    opened = [one["_meta"]["deliveryId"] for one in answer.get("linkedContent", [])]
    assert opened == [made[number]["id"] for number in ids]
    assert ("linkedContent" in answer) == bool(ids)
    assert answer["content"]["slides"][0]["_meta"] == {"schema": LINK}


def test_inlined_content_takes_the_place_of_links(client: Client) -> None:
    root, slide, image = carousel(client)
    path = f"/fresh/content/id/{root['id']}"
    shallow = client.get(path, depth="1", format="inlined")
    assert "linkedContent" not in shallow
    inlined = shallow["content"]["slides"][0]
    assert (inlined["headline"], inlined["_meta"]["deliveryId"]) == ("Hats", slide["id"])
    assert inlined["image"] == link(image)
    deep = client.get(path, depth="all", format="inlined")
    assert deep["content"]["slides"][0]["image"]["alt"] == "A hat"


def test_links_in_a_circle_stay_stubs(client: Client) -> None:
    one = client.create()
    two = client.create({"next": link(one)})
    client.update(one, {"next": link(two)})
    client.publish(one["id"])
    path = f"/fresh/content/id/{one['id']}"
    inlined = client.get(path, depth="all", format="inlined")["content"]
    assert inlined["next"]["next"]["_meta"] == {"schema": LINK}
    assert len(client.get(path, depth="all")["linkedContent"]) == 1


@pytest.mark.parametrize("query", [{"depth": "23"}, {"depth": "deep"}, {"format": "flat"}])
def test_wrong_parameters_are_refused(client: Client, query: dict[str, str]) -> None:
    answer = client.call("GET", "/cdn/content/id/x", params=query)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "REQUEST_PROPERTY_VALUE_INVALID"


def test_what_is_not_published_is_not_found(client: Client) -> None:
    item = client.create({"_meta": {"deliveryKey": "a/b"}})
    by_id = client.call("GET", f"/cdn/content/id/{item['id']}")
    by_key = client.call("GET", "/fresh/content/key/a/b")
    assert (by_id.status_code, by_key.status_code) == (404, 404)
    error = {"type": "CONTENT_NOT_FOUND", "message": "Not found"}
    assert by_id.json() == {"error": {**error, "data": {"deliveryId": item["id"]}}}
    assert by_key.json() == {"error": {**error, "data": {"deliveryKey": "a/b"}}}


@pytest.mark.parametrize(
    ("locale", "expected"),
    [
        ("fr-FR", "Bonjour"),
        ("en-*", "Hello"),
        ("*", "Hello"),
        ("fr-BE,en-GB", "Hello"),
        ("fr-BE,fr-*,en-GB", "Bonjour"),
        ("nl-NL", None),
        ("nl-NL,*", "Hello"),
    ],
)
def test_locale_picks_a_value_for_each_property(
    client: Client, locale: str, expected: str | None
) -> None:
    values = localized(de_DE=None, en_GB="Hello", fr_FR="Bonjour")
    item = client.create({"headline": values, "parts": [{"text": values}]})
    client.publish(item["id"])
    content = client.get(f"/fresh/content/id/{item['id']}", locale=locale)["content"]
    assert content["headline"] == expected
    assert content["parts"] == [{"text": expected}]


def test_without_a_locale_every_value_is_given(client: Client) -> None:
    values = localized(en_GB="Hello", fr_FR="Bonjour")
    item = client.create({"headline": values})
    client.publish(item["id"])
    assert client.get(f"/fresh/content/id/{item['id']}")["content"]["headline"] == values


def test_locale_reaches_linked_content(client: Client) -> None:
    child = client.create({"headline": localized(en_GB="Hello", fr_FR="Bonjour")})
    parent = client.create({"child": localized(en_GB="none"), "link": link(child)})
    client.publish(parent["id"])
    path = f"/fresh/content/id/{parent['id']}"
    answer = client.get(path, depth="all", locale="fr-FR")
    assert answer["linkedContent"][0]["headline"] == "Bonjour"
    inlined = client.get(path, depth="all", format="inlined", locale="fr-FR")["content"]
    assert (inlined["child"], inlined["link"]["headline"]) == (None, "Bonjour")


def test_fetch_answers_in_order_with_errors_in_their_place(client: Client) -> None:
    root, slide, _ = carousel(client)
    body = {
        "parameters": {"depth": "all", "format": "inlined"},
        "requests": [
            {"id": slide["id"]},
            {"key": "nothing/here"},
            {"key": "promotions/feature-carousel", "overrides": {"format": "linked"}},
        ],
    }
    answer = client.post("/cdn/content/fetch", body)
    assert answer.status_code == 200
    first, missing, last = answer.json()["responses"]
    assert first["content"]["image"]["alt"] == "A hat"
    assert missing == {
        "error": {
            "type": "CONTENT_NOT_FOUND",
            "message": "Not found",
            "data": {"deliveryKey": "nothing/here"},
        }
    }
    assert last["content"]["_meta"]["deliveryId"] == root["id"]
    assert len(last["linkedContent"]) == 2


def test_fetch_takes_one_to_twelve_requests(client: Client) -> None:
    item = client.create()
    client.publish(item["id"])
    ask = {"id": item["id"]}
    twelve = client.post("/cdn/content/fetch", {"requests": [ask] * 12})
    assert len(twelve.json()["responses"]) == 12
    assert client.post("/cdn/content/fetch", {"requests": [ask] * 13}).status_code == 400
    for wrong in ("x", {}, {"id": 1}, {"id": "x", "overrides": "all"}):
        assert client.post("/cdn/content/fetch", {"requests": [wrong]}).status_code == 400
    none = client.post("/cdn/content/fetch", {"requests": []})
    assert none.status_code == 400
    assert none.json()["error"] == {
        "type": "NO_REQUESTS_PROVIDED",
        "message": "Must supply at least one request",
    }


def test_filter_finds_what_matches_every_path_in_pages(client: Client) -> None:
    for number in range(15):
        item = client.create({"colour": "red" if number % 3 else "blue", "rank": number})
        client.publish(item["id"])
    body: Json = {
        "filterBy": [
            {"path": "/_meta/schema", "value": "https://schema.example.com/banner.json"},
            {"path": "/colour", "value": "red"},
        ],
        "sortBy": {"key": "rank", "order": "DESC"},
        "page": {"size": 6},
    }
    first = client.post("/fresh/content/filter", body).json()
    assert [one["content"]["rank"] for one in first["responses"]] == [14, 13, 11, 10, 8, 7]
    assert first["page"]["responseCount"] == 6
    body["page"]["cursor"] = first["page"]["nextCursor"]
    second = client.post("/fresh/content/filter", body).json()
    assert [one["content"]["rank"] for one in second["responses"]] == [5, 4, 2, 1]
    assert second["page"] == {"responseCount": 4}


def test_filter_without_a_match_is_empty(client: Client) -> None:
    body = {"filterBy": [{"path": "/colour", "value": "red"}]}
    answer = client.post("/cdn/content/filter", body)
    assert answer.json() == {"responses": [], "page": {"responseCount": 0}}


@pytest.mark.parametrize(
    "body",
    [
        {"filterBy": []},
        {"filterBy": [{"path": "/a", "value": 1}] * 7},
        {"filterBy": [{"path": "a", "value": 1}]},
        {"filterBy": ["/a"]},
        {"filterBy": [{"path": "/a", "value": 1}], "page": {"size": 13}},
        {"filterBy": [{"path": "/a", "value": 1}], "page": {"cursor": "?"}},
    ],
)
def test_filter_refuses_what_is_too_much_or_wrong(client: Client, body: Json) -> None:
    answer = client.post("/fresh/content/filter", body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "REQUEST_PROPERTY_VALUE_INVALID"


def headline(client: Client, place: str, item: Json, **query: str) -> str:
    answer = client.get(f"/{place}/content/id/{item['id']}", **query)
    return str(answer["content"]["headline"])


def test_the_cdn_gives_the_old_copy_once_more_after_its_time(client: Client) -> None:
    item = client.create({"headline": "Old"})
    client.publish(item["id"])
    assert headline(client, "cdn", item) == "Old"
    client.update(item, {"headline": "New"})
    client.publish(item["id"])
    assert headline(client, "fresh", item) == "New"
    client.advance(299)
    assert headline(client, "cdn", item) == "Old"
    assert headline(client, "cdn", item, depth="all") == "New"  # another copy, not read before
    client.advance(2)
    assert headline(client, "cdn", item) == "Old"
    assert headline(client, "cdn", item) == "New"


def test_the_cdn_serves_an_unpublished_item_until_its_copy_is_gone(client: Client) -> None:
    item = client.create({"headline": "Old"})
    client.publish(item["id"])
    assert headline(client, "cdn", item) == "Old"
    client.act(item["id"], "unpublish")
    assert client.call("GET", f"/fresh/content/id/{item['id']}").status_code == 404
    client.advance(301)
    assert headline(client, "cdn", item) == "Old"
    assert client.call("GET", f"/cdn/content/id/{item['id']}").status_code == 404


def test_whether_the_cdn_keeps_a_404_is_an_option(start: Callable[..., Client]) -> None:
    for keeps, status in ((False, 200), (True, 404)):
        client = start(cdn_caches_not_found=keeps)
        item = client.create()
        path = f"/cdn/content/id/{item['id']}"
        assert client.call("GET", path).status_code == 404
        client.publish(item["id"])
        assert client.call("GET", path).status_code == status


def test_an_unpublished_child_stays_in_its_published_parent(client: Client) -> None:
    root, slide, _ = carousel(client)
    client.act(slide["id"], "unpublish")
    assert client.call("GET", f"/fresh/content/id/{slide['id']}").status_code == 404
    answer = client.get(f"/fresh/content/id/{root['id']}", depth="1")
    assert answer["linkedContent"][0]["headline"] == "Hats"


def test_fresh_needs_a_key(client: Client) -> None:
    url = f"{client.sandbox.url}/fresh/content/id/x"
    assert requests.get(url, timeout=5).status_code == 401
    assert requests.get(url, headers={"X-API-Key": "other"}, timeout=5).status_code == 401


def test_fresh_is_limited_in_rate(start: Callable[..., Client]) -> None:
    client = start(fresh_rate=0.1, fresh_burst=2)
    statuses = [client.call("GET", "/fresh/content/id/x").status_code for _ in range(3)]
    assert statuses == [404, 404, 429]
    answer = client.call("GET", "/fresh/content/id/x").json()
    assert answer["error"] == {"type": "THROTTLED_REQUEST", "message": "Exceeded rate limit"}
    client.advance(10)
    assert client.call("GET", "/fresh/content/id/x").status_code == 404


def test_staging_shows_what_was_saved_last(client: Client) -> None:
    item = client.create({"headline": "Draft"})
    assert headline(client, "staging", item) == "Draft"
    client.publish(item["id"])
    client.update(item, {"headline": "Newer draft"})
    assert headline(client, "staging", item) == "Newer draft"
    assert headline(client, "fresh", item) == "Draft"
