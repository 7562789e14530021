from collections.abc import Callable

from .client import Client, link


def test_publish_is_a_job_with_a_snapshot(start: Callable[..., Client]) -> None:
    client = start(publish_delay=0.1)
    item = client.create({"headline": "One"}, locale="en-GB")
    client.hook()
    answer = client.act(item["id"], "publish")
    assert answer.status_code == 202
    assert answer.content == b""
    where = answer.headers["Location"].removeprefix(client.sandbox.url)
    assert client.get(where)["state"] == "CREATED"
    assert client.item(item["id"])["publishingStatus"] == "NONE"
    client.update(client.item(item["id"]), {"headline": "Two"})
    assert client.sandbox.settle()
    job = client.get(where)
    assert job["state"] == "COMPLETED"
    snapshot = client.get(job["_links"]["snapshot"]["href"].removeprefix(client.sandbox.url))
    (event,) = [one for one in client.events() if one["name"].endswith("snapshot.published")]
    assert event["payload"] == snapshot
    path = f"/v2/content/snapshots/{snapshot['id']}/content-items/{item['id']}"
    published = client.get(path)
    assert (published["version"], published["body"]["headline"]) == (1, "One")
    assert client.item(item["id"])["publishingStatus"] == "EARLY"
    other = client.call("GET", f"/v2/content/snapshots/{snapshot['id']}/content-items/x")
    assert other.status_code == 404


def test_one_snapshot_of_several_items_names_them_all(client: Client) -> None:
    first, second = client.create({"headline": "One"}), client.create({"headline": "Two"})
    client.hook()
    ids = [first["id"], second["id"], first["id"]]
    answer = client.call("POST", "/sandbox/publish", {"item_ids": ids})
    assert answer.status_code == 202, answer.text
    assert client.sandbox.settle()
    (event,) = [one for one in client.events() if one["name"].endswith("snapshot.published")]
    payload = event["payload"]
    assert payload["rootContentItem"] == payload["rootContentItems"][0]
    assert [root["id"] for root in payload["rootContentItems"]] == ids[:2]
    assert payload["id"] == answer.json()["snapshotId"]
    for item in (first, second):
        path = f"/v2/content/snapshots/{payload['id']}/content-items/{item['id']}"
        assert client.get(path)["id"] == item["id"]
        assert client.item(item["id"])["publishingStatus"] == "LATEST"


def test_publishing_nothing_in_one_snapshot_is_refused(client: Client) -> None:
    wrong: tuple[object, ...] = ({}, {"item_ids": []}, {"item_ids": "x"}, {"item_ids": [7]})
    for given in wrong:
        assert client.call("POST", "/sandbox/publish", given).status_code == 400


def test_publishing_status_follows_the_item(client: Client) -> None:
    item = client.create()

    def status() -> str:
        return str(client.item(item["id"])["publishingStatus"])

    assert status() == "NONE"
    client.publish(item["id"])
    assert status() == "LATEST"
    assert client.item(item["id"])["lastPublishedVersion"] == 1
    changed = client.update(item, {"headline": "Two"})
    assert status() == "EARLY"
    assert client.act(item["id"], "unpublish").status_code == 202
    assert status() == "UNPUBLISHED"
    client.update(changed, {"headline": "Three"})
    assert status() == "UNPUBLISHED"
    client.publish(item["id"])
    assert status() == "LATEST"


def test_publish_takes_the_linked_items_along(client: Client) -> None:
    slide = client.create({"headline": "Slide"})
    parent = client.create({"slides": [link(slide)]})
    client.hook()
    client.publish(parent["id"])
    assert client.item(slide["id"])["publishingStatus"] == "LATEST"
    assert client.get(f"/fresh/content/id/{slide['id']}")["content"]["headline"] == "Slide"
    assert len(client.events()) == 1


def test_unpublish_refuses_what_is_not_published(client: Client) -> None:
    item = client.create()
    assert client.act(item["id"], "unpublish").status_code == 400
    client.publish(item["id"])
    assert client.act(item["id"], "unpublish").status_code == 202
    assert client.act(item["id"], "unpublish").status_code == 400
    assert client.act("nothing", "unpublish").status_code == 404


def test_publish_and_unpublish_share_a_quota(start: Callable[..., Client]) -> None:
    client = start(publish_quota_per_minute=3)
    item = client.create()
    client.publish(item["id"])
    client.advance(30)
    assert client.act(item["id"], "unpublish").status_code == 202
    assert client.act(item["id"], "publish").status_code == 202
    assert client.act(item["id"], "publish").status_code == 429
    client.advance(31)
    assert client.act(item["id"], "publish").status_code == 202
    assert client.act(item["id"], "publish").status_code == 429
