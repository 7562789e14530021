"""The verbs for long commands and for webhooks, against the stand-in for Amplience."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from app.amplience.delivery import ContentParameters, DeliveryClient, ReadParameters
from app.amplience.facets import FacetField, FacetQuery
from app.amplience.filtering import FilterQuery
from app.amplience.linking import CONTENT_LINK, link_tree
from app.amplience.management import ManagementClient
from app.config import AmplienceHosts, ClientCredentials, Delivery
from app.errors import NotFound, RateLimited, Refused
from sandbox import SandboxOptions, SandboxServer

SCHEMA = "https://schema.example.com/article.json"
OPTIONS = SandboxOptions(publish_delay=0.01, publish_quota_per_minute=30)
HUB, REPOSITORY = OPTIONS.hub_id, OPTIONS.repositories[0].id


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with SandboxServer(OPTIONS, port=0) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(server: SandboxServer) -> SandboxServer:
    server.reset()
    return server


@pytest.fixture
def client(sandbox: SandboxServer, closing: ExitStack) -> ManagementClient:
    hosts = AmplienceHosts(auth_url=sandbox.url, api_url=f"{sandbox.url}/v2/content")
    credentials = ClientCredentials(OPTIONS.client_id, OPTIONS.client_secret)
    made = ManagementClient(credentials=credentials, hosts=hosts)
    closing.callback(made.close)
    return made


@pytest.fixture
def read_from(sandbox: SandboxServer, closing: ExitStack) -> Callable[[str], DeliveryClient]:
    def connect(source: Any) -> DeliveryClient:
        key = OPTIONS.fresh_api_key if source == "fresh" else None
        made = DeliveryClient(Delivery(source, f"{sandbox.url}/{source}", key))
        closing.callback(made.close)
        return made

    return connect


def create(sandbox: SandboxServer, label: str = "Article", **body: Any) -> str:
    meta = {"name": label, "schema": SCHEMA, **body.pop("meta", {})}
    content = {"_meta": meta, **body}
    return sandbox.content.create(REPOSITORY, label=label, body=content).id


def link(item_id: str) -> dict[str, Any]:
    return {"_meta": {"schema": CONTENT_LINK}, "contentType": SCHEMA, "id": item_id}


def test_archived_items_are_found_and_unpublished(
    sandbox: SandboxServer, client: ManagementClient
) -> None:
    kept, gone = create(sandbox, "Kept"), create(sandbox, "Gone")
    for item in (kept, gone):
        job_id = client.publish(item)
        assert sandbox.settle()
        assert job_id is not None
        assert client.publishing_job(job_id).ended
    archived = client.archive(gone, version=client.content_item(gone).version)
    assert (archived.status, archived.publishing_status) == ("ARCHIVED", "LATEST")

    query = FacetQuery(
        having=(("status", "ARCHIVED"),),
        fields=(FacetField("publishingStatus", ("LATEST", "EARLY")),),
    )
    (found,) = client.facet_all(HUB, query)
    assert (found.id, found.schema, found.body) == (gone, SCHEMA, {})
    client.unpublish(gone)
    now = client.content_item(gone)
    assert now.publishing_status == "UNPUBLISHED"
    assert now.last_published is not None
    assert now.last_unpublished is not None
    assert list(client.facet_all(HUB, query)) == []
    with pytest.raises(Refused):
        client.unpublish(gone)
    assert client.unarchive(gone, version=archived.version).status == "ACTIVE"


def test_pages_of_a_search_go_on_where_the_last_ended(
    sandbox: SandboxServer, client: ManagementClient
) -> None:
    items = [create(sandbox, f"Article {n}") for n in range(5)]
    pages = [client.facet(HUB, FacetQuery(), page=n, size=2) for n in range(3)]
    assert [one.id for page in pages for one in page.items] == items
    assert (pages[0].pages, pages[0].total) == (3, 5)
    counted = client.facet(HUB, FacetQuery(fields=(FacetField("schema"),)))
    assert counted.counts == {"schema": {SCHEMA: 5}}


def test_items_of_a_repository_are_listed(sandbox: SandboxServer, client: ManagementClient) -> None:
    item, archived = create(sandbox), create(sandbox)
    sandbox.content.archive(archived, 1, archived=True)
    (repository,) = client.content_repositories(HUB)
    assert {one.id for one in client.content_items(repository.id)} == {item, archived}
    assert [one.id for one in client.content_items(repository.id, status="ARCHIVED")] == [archived]
    with pytest.raises(NotFound):
        next(client.content_items("0" * 24))


def test_snapshot_holds_what_was_published(
    sandbox: SandboxServer, client: ManagementClient
) -> None:
    item = create(sandbox, title="first")
    client.publish(item)
    assert sandbox.settle()
    sandbox.content.update(item, 1, {"body": {"_meta": {"schema": SCHEMA}, "title": "second"}})
    (snapshot_id,) = sandbox.state.snapshots
    assert client.snapshot(snapshot_id).root_item_id == item
    assert client.snapshot_item(snapshot_id, item).body["title"] == "first"


def test_publish_quota_is_answered_with_a_rate_limit(
    sandbox: SandboxServer, client: ManagementClient
) -> None:
    item = create(sandbox)
    for _ in range(OPTIONS.publish_quota_per_minute):
        sandbox.content.publish(item)
    with pytest.raises(RateLimited):
        client.publish(item)
    sandbox.state.advance(61)
    client.publish(item)


def test_webhook_is_made_changed_and_removed(
    sandbox: SandboxServer, client: ManagementClient
) -> None:
    events = client.webhook_event_types(HUB)
    assert "dynamic-content.snapshot.published" in events
    made = client.create_webhook(
        HUB, label="dc-relay", events=events, handlers=[f"{sandbox.url}/downstream/hook"]
    )
    assert made.secret
    assert [one.id for one in client.webhooks(HUB)] == [made.id]
    create(sandbox)
    assert sandbox.settle()
    (sent,) = client.webhook_requests(HUB, made.id).requests
    assert sent["status"] == "SUCCESS"
    assert client.webhook_requests(HUB, made.id, exclude_status="SUCCESS").requests == ()
    changed = client.update_webhook(HUB, made.id, {"active": False})
    assert (changed.active, changed.events) == (False, tuple(events))
    client.delete_webhook(HUB, made.id)
    with pytest.raises(NotFound):
        client.webhook(HUB, made.id)


def test_log_of_a_webhook_is_read_to_the_end_by_cursor(
    sandbox: SandboxServer, client: ManagementClient
) -> None:
    events = ["dynamic-content.content-item.created"]
    hook = client.create_webhook(
        HUB, label="x", events=events, handlers=[f"{sandbox.url}/downstream/x"]
    )
    for _ in range(3):
        create(sandbox)
    assert sandbox.settle()
    first = client.webhook_requests(HUB, hook.id, limit=2)
    rest = client.webhook_requests(HUB, hook.id, limit=2, cursor=first.cursor)
    assert (len(first.requests), len(rest.requests), rest.cursor) == (2, 1, None)


def test_filter_finds_every_page_and_no_other_schema(
    sandbox: SandboxServer, read_from: Callable[[str], DeliveryClient]
) -> None:
    items = [create(sandbox, rank=n) for n in range(14)]
    other = create(sandbox, meta={"schema": "https://schema.example.com/other.json"})
    for item in (*items, other):
        sandbox.content.publish(item)
    assert sandbox.settle()
    query = FilterQuery(where=(("/_meta/schema", SCHEMA),), sort_key="rank", descending=True)
    found = list(read_from("fresh").filter_all(query, ContentParameters("root")))
    assert [one.content["rank"] for one in found] == list(reversed(range(14)))
    with pytest.raises(Refused):
        read_from("fresh").filter(query, ContentParameters(), cursor="odd")


@pytest.mark.parametrize("depth", ["root", "all", 0, 1, 2])
def test_linked_becomes_what_inlined_is(
    sandbox: SandboxServer, read_from: Callable[[str], DeliveryClient], depth: Any
) -> None:
    leaf = create(sandbox, "Leaf")
    middle = create(sandbox, "Middle", links=[link(leaf)])
    root = create(sandbox, "Root", links=[link(middle), link(leaf)], meta={"deliveryKey": "a/root"})
    sandbox.content.publish(root)
    assert sandbox.settle()
    fresh = read_from("fresh")
    linked = fresh.by_key("a/root", ReadParameters(depth, "linked"))
    inlined = fresh.by_id(root, ReadParameters(depth, "inlined"))
    levels = {"root": 0, "all": 22}.get(depth, depth)
    assert link_tree(linked.content, linked.linked_content, depth=levels) == inlined.content


@pytest.mark.parametrize(("source", "there"), [("fresh", False), ("cdn", False), ("staging", True)])
def test_only_staging_shows_what_is_not_published(
    sandbox: SandboxServer,
    read_from: Callable[[str], DeliveryClient],
    source: str,
    there: bool,
) -> None:
    item = create(sandbox, title="draft")
    if there:
        assert read_from(source).by_id(item).content["title"] == "draft"
    else:
        with pytest.raises(NotFound):
            read_from(source).by_id(item)
