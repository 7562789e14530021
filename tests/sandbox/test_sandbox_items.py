from collections.abc import Callable

import pytest

from .client import Client, Json


def code(answer: Json) -> str:
    return str(answer["errors"][0]["code"])


def test_hub_tells_its_locales(client: Client) -> None:
    hub = client.get(client.hub)
    assert hub["settings"]["localization"]["locales"] == ["en-GB", "fr-FR", "de-DE", "nl-NL"]
    page = client.get("/v2/content/hubs")
    assert page["_embedded"]["hubs"] == [hub]
    assert page["page"] == {"size": 20, "totalElements": 1, "totalPages": 1, "number": 0}


def test_unknown_things_are_not_found(client: Client) -> None:
    for path in ("hubs/x", "content-repositories/x", "content-items/x", "snapshots/x"):
        answer = client.call("GET", f"/v2/content/{path}")
        assert (answer.status_code, code(answer.json())) == (404, "NOT_FOUND")


def test_repository_is_listed_and_shown(client: Client) -> None:
    page = client.get(f"{client.hub}/content-repositories")
    repository = client.get(f"/v2/content/content-repositories/{client.repository}")
    assert page["_embedded"]["content-repositories"] == [repository]
    locales = client.get(
        f"/v2/content/content-repositories/{client.repository}/localization-group/locales"
    )
    assert locales["locales"] == list(client.options.locales)


def test_a_new_item_has_the_shape_of_amplience(client: Client) -> None:
    item = client.create({"headline": "Spring"}, locale="en-GB")
    assert item == client.item(item["id"])
    assert item["version"] == 1
    assert item["status"] == "ACTIVE"
    assert item["publishingStatus"] == "NONE"
    assert item["deliveryId"] == item["id"]
    assert item["createdDate"].endswith("Z")
    assert {"self", "publish", "create-localizations", "localizations"} <= set(item["_links"])
    assert item["_links"]["localizations"]["templated"] is True
    assert item["_links"]["self"]["href"].startswith(client.sandbox.url + "/v2/content/")


def test_an_item_without_a_locale_has_no_such_key(client: Client) -> None:
    assert "locale" not in client.create()


@pytest.mark.parametrize(
    "body", [{"label": "x"}, {"label": "x", "body": {}}, {"body": {"_meta": {"schema": "s"}}}]
)
def test_an_incomplete_item_is_refused(client: Client, body: Json) -> None:
    path = f"/v2/content/content-repositories/{client.repository}/content-items"
    assert client.post(path, body).status_code == 400


def test_only_content_changes_make_a_new_version(client: Client) -> None:
    item = client.create(locale="en-GB")
    item = client.update(item, {"headline": "Summer"})
    assert (item["version"], item["body"]["headline"]) == (2, "Summer")
    client.publish(item["id"])
    assert client.act(item["id"], "archive", {"version": 2}).json()["version"] == 2


def test_an_old_version_conflicts(client: Client) -> None:
    item = client.create(locale="en-GB")
    client.update(item, {"headline": "Summer"})
    path = f"/v2/content/content-items/{item['id']}"
    for answer in (
        client.call("PATCH", path, {"version": 1, "label": "x"}),
        client.post(path + "/localize", {"version": 1, "locales": ["fr-FR"]}),
        client.post(path + "/archive", {"version": 1}),
        client.post(path + "/locale", {"version": 1, "locale": "en-GB"}),
    ):
        assert answer.status_code == 409
        assert code(answer.json()) == "CONTENT_ITEM_VERSION_NOT_LATEST"


def test_a_locale_is_set_once(client: Client) -> None:
    item = client.create()
    answer = client.act(item["id"], "locale", {"version": 1, "locale": "en-GB"})
    assert answer.json()["locale"] == "en-GB"
    again = client.act(item["id"], "locale", {"version": 1, "locale": "fr-FR"})
    assert (again.status_code, code(again.json())) == (400, "LOCALE_IMMUTABLE")
    assert client.act(item["id"], "locale", {"version": 1, "locale": "en-GB"}).ok


def test_a_delivery_key_is_unique_on_the_hub(client: Client) -> None:
    client.create({"_meta": {"deliveryKey": "home/banner"}})
    answer = client.post(
        f"/v2/content/content-repositories/{client.repository}/content-items",
        {"label": "x", "body": {"_meta": {"schema": "s", "deliveryKey": "home/banner"}}},
    )
    assert answer.status_code == 409
    assert answer.json()["errors"][0] == {
        "level": "ERROR",
        "code": "CONTENT_ITEM_DELIVERY_KEY_DUPLICATE",
        "message": "Required delivery key already exists on this hub",
        "property": "body._meta.deliveryKey",
        "entity": "ContentItem",
        "invalidValue": "home/banner",
    }


def test_items_are_listed_in_pages(client: Client) -> None:
    made = [client.create(label=f"item {number}")["id"] for number in range(5)]
    path = f"/v2/content/content-repositories/{client.repository}/content-items"
    first = client.get(path, size=2)
    last = client.get(path, size=2, page=2)
    assert [item["id"] for item in first["_embedded"]["content-items"]] == made[:2]
    assert [item["id"] for item in last["_embedded"]["content-items"]] == made[4:]
    assert last["page"] == {"size": 2, "totalElements": 5, "totalPages": 3, "number": 2}
    beyond = client.get(path, size=2, page=3)
    assert "_embedded" not in beyond
    newest = client.get(path, sort="createdDate,desc", projection="basic")
    assert newest["_embedded"]["content-items"][0]["id"] == made[4]
    assert "body" not in newest["_embedded"]["content-items"][0]
    assert client.call("GET", path + "?size=0").status_code == 400


def test_items_are_listed_by_status(client: Client) -> None:
    gone = client.create()
    client.create()
    client.act(gone["id"], "archive", {"version": 1})
    path = f"/v2/content/content-repositories/{client.repository}/content-items"
    listed = client.get(path, status="ARCHIVED")["_embedded"]["content-items"]
    assert [item["id"] for item in listed] == [gone["id"]]


def test_an_archived_item_cannot_be_changed_until_it_is_back(client: Client) -> None:
    item = client.create()
    assert client.act(item["id"], "archive", {"version": 1}).json()["status"] == "ARCHIVED"
    path = f"/v2/content/content-items/{item['id']}"
    assert client.call("PATCH", path, {"version": 1, "label": "x"}).status_code == 400
    assert client.act(item["id"], "publish").status_code == 400
    assert client.act(item["id"], "archive", {"version": 1}).status_code == 400
    assert client.act(item["id"], "unarchive", {"version": 1}).json()["status"] == "ACTIVE"


def test_a_fresh_item_may_not_be_found_at_once(start: Callable[..., Client]) -> None:
    client = start(not_found_after_create=3)
    item = client.create()
    assert client.call("GET", f"/v2/content/content-items/{item['id']}").status_code == 404
    client.advance(3)
    assert client.item(item["id"])["id"] == item["id"]


def test_facet_finds_archived_items_that_are_published(client: Client) -> None:
    published = client.create({"_meta": {"deliveryKey": "a/b"}}, locale="en-GB")
    client.publish(published["id"])
    never = client.create()
    for item in (published, never):
        client.act(item["id"], "archive", {"version": 1})
    client.create()
    asked = {
        "returnEntities": True,
        "fields": [
            {
                "facetAs": "ENUM",
                "field": "publishingStatus",
                "filter": {"type": "IN", "values": ["LATEST", "EARLY"]},
            }
        ],
    }
    path = f"{client.hub}/content-items/facet"
    answer = client.call("POST", path, asked, params={"query": 'status:"ARCHIVED"'}).json()
    (found,) = answer["_embedded"]["content-items"]
    assert found["id"] == published["id"]
    assert "body" not in found
    assert found["schema"] == published["body"]["_meta"]["schema"]
    assert found["deliveryKey"] == "a/b"
    assert answer["_facets"]["publishingStatus"] == [
        {"_id": "LATEST", "count": 1},
        {"_id": "NONE", "count": 1},
    ]
    excluding = {**asked, "fields": [{"facetAs": "ENUM", "field": "locale"}]}
    everything = client.call("POST", path, excluding, params={"size": 2}).json()
    assert everything["page"]["totalPages"] == 2
    unknown = {"fields": [{"facetAs": "ENUM", "field": "colour"}]}
    assert client.post(path, unknown).status_code == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/content/folders/1"),
        ("DELETE", "/v2/content/hubs"),
        ("GET", "/cdn/content/hierarchies/descendants/id/1"),
        ("PUT", "/oauth/token"),
    ],
)
def test_what_is_not_played_says_so(client: Client, method: str, path: str) -> None:
    answer = client.call(method, path)
    assert answer.status_code == 501
    assert answer.json()["errors"][0] == {
        "level": "ERROR",
        "code": "SANDBOX_NOT_IMPLEMENTED",
        "message": f"{method} {path} is not part of the sandbox",
    }


def test_archiving_sets_a_delivery_key_free_and_unarchiving_asks_for_it(client: Client) -> None:
    old = client.create({"_meta": {"deliveryKey": "home"}})
    client.act(old["id"], "archive", {"version": 1})
    client.create({"_meta": {"deliveryKey": "home"}})
    answer = client.act(old["id"], "unarchive", {"version": 1})
    assert answer.status_code == 409
    assert code(answer.json()) == "CONTENT_ITEM_DELIVERY_KEY_DUPLICATE"
