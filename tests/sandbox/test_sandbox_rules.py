"""Rules of Amplience that the other tests of the sandbox pass by."""

import pytest

from .client import Client, Json, link

DEFINITIONS = "http://bigcontent.io/cms/schema/v1/core#/definitions/"
SCHEMA = "https://schema.example.com/banner.json"


def code(answer: Json) -> str:
    return str(answer["errors"][0]["code"])


def test_a_locale_that_the_hub_lacks_is_refused(client: Client) -> None:
    path = f"/v2/content/content-repositories/{client.repository}/content-items"
    body = {"label": "x", "body": {"_meta": {"schema": SCHEMA}}, "locale": "xx-XX"}
    assert client.post(path, body).status_code == 400
    item = client.create()
    answer = client.act(item["id"], "locale", {"version": 1, "locale": "xx-XX"})
    assert (answer.status_code, code(answer.json())) == (400, "BAD_REQUEST")


def test_archiving_does_not_take_an_item_off_delivery(client: Client) -> None:
    item = client.create({"headline": "Still here"})
    client.publish(item["id"])
    assert client.act(item["id"], "archive", {"version": 1}).ok
    assert client.item(item["id"])["publishingStatus"] == "LATEST"
    assert client.get(f"/fresh/content/id/{item['id']}")["content"]["headline"] == "Still here"
    # And what is archived can be taken off all the same.
    assert client.act(item["id"], "unpublish").status_code == 202
    assert client.call("GET", f"/fresh/content/id/{item['id']}").status_code == 404


def test_unpublishing_says_when(client: Client) -> None:
    item = client.create()
    client.publish(item["id"])
    assert "lastUnpublishedDate" not in client.item(item["id"])
    client.act(item["id"], "unpublish")
    now = client.item(item["id"])
    assert now["lastUnpublishedDate"] >= now["lastPublishedDate"]


def test_a_content_reference_is_never_followed(client: Client) -> None:
    other = client.create()
    reference = {**link(other), "_meta": {"schema": DEFINITIONS + "content-reference"}}
    item = client.create({"see": reference})
    client.publish(item["id"])
    path = f"/fresh/content/id/{item['id']}"
    assert client.get(path, depth="all", format="inlined")["content"]["see"] == reference
    assert "linkedContent" not in client.get(path, depth="all", format="linked")
    assert client.item(other["id"])["publishingStatus"] == "NONE"
    assert client.call("GET", f"/fresh/content/id/{other['id']}").status_code == 404


def test_of_two_items_under_one_key_the_one_published_last_is_read(client: Client) -> None:
    first = client.create({"_meta": {"deliveryKey": "home"}})
    client.publish(first["id"])
    client.act(first["id"], "archive", {"version": 1})
    second = client.create({"_meta": {"deliveryKey": "home"}})
    client.publish(second["id"])
    read = client.get("/fresh/content/key/home")["content"]
    assert read["_meta"]["deliveryId"] == second["id"]


def test_staging_opens_links_to_what_was_saved_last(client: Client) -> None:
    slide = client.create({"headline": "Old"})
    item = client.create({"slides": [link(slide)]})
    client.publish(item["id"])
    client.update(slide, {"headline": "New"})
    path = f"/content/id/{item['id']}"
    staged = client.get("/staging" + path, depth="all", format="inlined")["content"]
    assert staged["slides"][0]["headline"] == "New"
    published = client.get("/fresh" + path, depth="all", format="inlined")["content"]
    assert published["slides"][0]["headline"] == "Old"
    assert client.call("GET", "/staging/content/id/nothing").status_code == 404


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        ("/tags/1", "b", [0]),
        ("/tags/9", "b", []),
        ("/tags/x", "b", []),
        ("/deep/a~1b", 1, [1]),
        ("/nothing/there", None, [0, 1]),
        ("/rank", "1", []),
    ],
)
def test_filter_follows_json_pointers_and_compares_exactly(
    client: Client, path: str, value: object, found: list[int]
) -> None:
    bodies: list[Json] = [{"tags": ["a", "b"], "rank": 1}, {"deep": {"a/b": 1}}]
    items = [client.create(body)["id"] for body in bodies]
    for item in items:
        client.publish(item)
    answer = client.post("/fresh/content/filter", {"filterBy": [{"path": path, "value": value}]})
    ids = [one["content"]["_meta"]["deliveryId"] for one in answer.json()["responses"]]
    assert ids == [items[number] for number in found]


def test_filter_sorts_by_created_date_without_a_key(client: Client) -> None:
    items = [client.create()["id"] for _ in range(3)]
    for item in (items[1], items[2], items[0]):
        client.publish(item)
    rule = {"path": "/_meta/schema", "value": SCHEMA}

    def found(**more: Json) -> list[str]:
        answer = client.post("/fresh/content/filter", {"filterBy": [rule], **more})
        return [one["content"]["_meta"]["deliveryId"] for one in answer.json()["responses"]]

    assert found() == items
    assert found(sortBy={"key": "default", "order": "DESC"}) == items[::-1]


@pytest.mark.parametrize("path", ["/fresh/content/fetch", "/fresh/content/filter"])
@pytest.mark.parametrize("body", [[], "text", None])
def test_delivery_takes_json_objects_alone(client: Client, path: str, body: object) -> None:
    answer = client.call("POST", path, body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "REQUEST_PROPERTY_VALUE_INVALID"


def test_the_management_api_takes_json_objects_alone(client: Client) -> None:
    item = client.create(locale="en-GB")
    assert client.act(item["id"], "localize", [1]).status_code == 400
    # No body counts as an empty object: publishing needs none.
    path = f"/v2/content/content-items/{item['id']}"
    assert client.call("POST", path + "/publish").status_code == 202
    assert client.call("POST", path + "/archive").status_code == 409


def test_an_unknown_publishing_job_is_not_found(client: Client) -> None:
    assert client.call("GET", "/v2/content/publishing-jobs/nothing").status_code == 404


def test_a_page_holds_twenty_unless_asked(client: Client) -> None:
    for number in range(21):
        client.create(label=f"item {number}")
    page = client.get(f"/v2/content/content-repositories/{client.repository}/content-items")
    assert len(page["_embedded"]["content-items"]) == 20
    assert page["page"]["totalPages"] == 2


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ({"type": "IN", "values": ["en-GB", "fr-FR"]}, ["en-GB", "fr-FR"]),
        ({"type": "EQ", "values": ["en-GB"]}, ["en-GB"]),
        ({"type": "EXCLUDES", "values": ["en-GB"]}, ["fr-FR", None]),
    ],
)
def test_facets_filter_in_three_ways(client: Client, rule: Json, found: list[str | None]) -> None:
    for locale in ("en-GB", "fr-FR", None):
        client.create(locale=locale)
    fields = [{"facetAs": "ENUM", "field": "locale", "name": "where", "filter": rule}]
    dated = {"facetAs": "DATE", "field": "lastModifiedDate", "name": "when", "range": {}}
    body = {"returnEntities": True, "fields": [*fields, dated]}
    answer = client.post(f"{client.hub}/content-items/facet", body).json()
    assert [item.get("locale") for item in answer["_embedded"]["content-items"]] == found
    assert list(answer["_facets"]) == ["where"]
    assert {"_id": "en-GB", "count": 1} in answer["_facets"]["where"]


def test_facets_can_be_counted_alone(client: Client) -> None:
    client.create()
    answer = client.post(f"{client.hub}/content-items/facet", {"returnEntities": False}).json()
    assert "_embedded" not in answer


@pytest.mark.parametrize(
    "field",
    [{"field": "unknown"}, {"field": "locale", "filter": {"type": "LIKE", "values": ["en"]}}],
)
def test_a_facet_that_is_not_played_is_refused(client: Client, field: Json) -> None:
    body = {"returnEntities": True, "fields": [{"facetAs": "ENUM", **field}]}
    assert client.post(f"{client.hub}/content-items/facet", body).status_code == 400


def test_a_webhook_has_ten_filters_at_most(client: Client) -> None:
    rule = {"type": "equal", "arguments": [{"jsonPath": "$.payload.id"}, {"value": "a"}]}
    body = {"label": "x", "events": [], "handlers": [], "filters": [rule] * 10}
    assert client.post(f"{client.hub}/webhooks", body).status_code == 201
    body["filters"] = [rule] * 11
    assert client.post(f"{client.hub}/webhooks", body).status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/content/editions/1", 501),
        ("DELETE", "/v2/content/content-items/1", 501),
        ("GET", "/fresh/content/hierarchies/descendants/id/1", 501),
        ("GET", "/elsewhere", 404),
        ("DELETE", "/sandbox/state", 405),
    ],
)
def test_only_what_amplience_would_answer_is_said_to_be_missing(
    client: Client, method: str, path: str, status: int
) -> None:
    answer = client.call(method, path)
    assert answer.status_code == status
    assert ("SANDBOX_NOT_IMPLEMENTED" in answer.text) == (status == 501)
