"""Each page in docs/recipes works as it stands: its block loads, and what it sends is right."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from app.config import Destination, Settings
from app.destinations.message import (
    ItemFacts,
    Message,
    Origin,
    Published,
    content_deleted,
    content_published,
)
from app.destinations.rendering import try_templates
from app.destinations.sending import DestinationClient
from app.operations.config_warnings import config_warnings
from tests.config.loading import load
from tests.servers import Received, Reply, ScriptedServer

PAGES = Path(__file__).parents[2] / "docs/recipes"
HUB = {
    "WEBHOOK_SECRET": "a-long-enough-secret",
    "AMPLIENCE_HUB_NAME": "docs",
    "AMPLIENCE_CLIENT_ID": "id",
    "AMPLIENCE_CLIENT_SECRET": "client-secret",
    "AMPLIENCE_FRESH_API_KEY": "fresh-key",
}
ID = "7b1c2a04-0000-4000-8000-000000000001"
WHEN = datetime(2025, 3, 3, 11, 0, 1, tzinfo=UTC)
STAMP = "2025-03-03T11:00:01.000Z"
SCHEMA = "https://schema-examples.com/article"
ITEM = ItemFacts(id=ID, delivery_key="news/a", schema=SCHEMA, label='A & "B" <c>', locale="en-GB")
CONTENT = {"title": 'Frühling "26"', "tags": ["a", "b"]}
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass(frozen=True)
class Sent:
    """What the downstream's documentation wants to see; `json` of None: no body."""

    method: str
    path: str
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


RECORD = {"schema": SCHEMA, "label": ITEM.label, "publishedAt": STAMP, "content": CONTENT}
ALGOLIA = {"x-algolia-application-id": "APP", "x-algolia-api-key": "algolia-key"}
ELASTIC = {"authorization": "ApiKey elastic-key"}
CTP = {"authorization": "Bearer ctp-token"}
FASTLY = {"fastly-key": "fastly-token", "fastly-soft-purge": "1"}
FLARE = {"authorization": "Bearer flare-token"}
OBJECT = {"container": "amplience", "key": ID, "value": CONTENT}
SAFE = 'A &amp; "B" &lt;c&gt;'

# Name: its variables, what is sent when an item is published, and when it is gone.
RECIPES: dict[str, tuple[dict[str, str], Sent, Sent]] = {
    "algolia": (
        {"ALGOLIA_APP_ID": "APP", "ALGOLIA_API_KEY": "algolia-key"},
        Sent("PUT", f"/1/indexes/articles/{ID}", {"objectID": ID, **RECORD}, ALGOLIA),
        Sent("DELETE", f"/1/indexes/articles/{ID}", None, ALGOLIA),
    ),
    "elasticsearch": (
        {"ELASTIC_URL": "https://search.example:9200", "ELASTIC_API_KEY": "elastic-key"},
        Sent("PUT", f"/articles/_doc/{ID}", RECORD, ELASTIC),
        Sent("DELETE", f"/articles/_doc/{ID}", None, ELASTIC),
    ),
    "commercetools": (
        {"CTP_API_URL": "https://ctp.example", "CTP_PROJECT_KEY": "p", "CTP_TOKEN": "ctp-token"},
        Sent("POST", "/p/custom-objects", OBJECT, CTP),
        Sent("DELETE", f"/p/custom-objects/amplience/{ID}", None, CTP),
    ),
    "slack": (
        {"SLACK_WEBHOOK_URL": "https://hooks.example/services/T0/B0/x"},
        Sent("POST", "/services/T0/B0/x", {"text": f"Published: *{SAFE}* (en-GB)"}),
        Sent("POST", "/services/T0/B0/x", {"text": f"Taken down: *{SAFE}*"}),
    ),
    "netlify": (
        {"NETLIFY_BUILD_HOOK": "https://api.netlify.example/build_hooks/5c"},
        Sent("POST", "/build_hooks/5c", {}),
        Sent("POST", "/build_hooks/5c", {}),
    ),
    "vercel": (
        {"VERCEL_DEPLOY_HOOK": "https://api.vercel.example/v1/integrations/deploy/prj/x"},
        Sent("POST", "/v1/integrations/deploy/prj/x"),
        Sent("POST", "/v1/integrations/deploy/prj/x"),
    ),
    "fastly": (
        {"FASTLY_SERVICE_ID": "SU1", "FASTLY_TOKEN": "fastly-token"},
        Sent("POST", f"/service/SU1/purge/{ID}", None, FASTLY),
        Sent("POST", f"/service/SU1/purge/{ID}", None, FASTLY),
    ),
    "cloudflare": (
        {"CLOUDFLARE_ZONE_ID": "z1", "CLOUDFLARE_TOKEN": "flare-token"},
        Sent("POST", "/client/v4/zones/z1/purge_cache", {"tags": [ID]}, FLARE),
        Sent("POST", "/client/v4/zones/z1/purge_cache", {"tags": [ID]}, FLARE),
    ),
}
OWN = {"RECEIVER_URL": "https://shop.example/content", "RECEIVER_SECRET": SECRET}


def block(page: str, language: str) -> str:
    """The one block of `language` on a page."""
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    (found,) = re.findall(rf"(?ms)^```{language}\n(.*?)^```$", text)
    return str(found)


def settings_of(page: str, variables: Mapping[str, str]) -> Settings:
    return load({**HUB, **variables}, block(page, "toml"))


def published(webhook_id: str = "msg-1") -> Message:
    pulled = Published(content=CONTENT, source="fresh", verified=True)
    origin = Origin(
        hub="main",
        event_id="e-1",
        event_name="dynamic-content.snapshot.published",
        snapshot_id="66a10b0000000000000000aa",
        snapshot_created=WHEN,
    )
    return content_published(origin, ITEM, pulled, timestamp=WHEN, webhook_id=webhook_id)


def deleted(webhook_id: str = "msg-2") -> Message:
    origin = Origin(hub="main", event_id="e-2", event_name="dynamic-content.content-item.updated")
    return content_deleted(origin, ITEM, timestamp=WHEN, webhook_id=webhook_id)


def redirected(destination: Destination, to: str) -> Destination:
    """The destination with every address on the server at `to`."""

    def moved(url: str) -> str:
        parts = urlsplit(url)
        return url.replace(f"{parts.scheme}://{parts.netloc}", to, 1)

    delete = destination.delete
    if delete and delete.url:
        delete = replace(delete, url=moved(delete.url))
    return replace(destination, url=moved(destination.url), delete=delete, allow_private=True)


@pytest.fixture(scope="module")
def downstream() -> Iterator[ScriptedServer]:
    with closing(ScriptedServer(lambda _: Reply(200, b"{}"))) as server:
        yield server


@pytest.fixture(scope="module")
def client() -> Iterator[DestinationClient]:
    with closing(DestinationClient()) as opened:
        yield opened


def test_every_page_is_tried() -> None:
    pages = {path.stem for path in PAGES.glob("*.md")} - {"README"}
    assert pages == {*RECIPES, "receiver"}
    listed = (PAGES / "README.md").read_text(encoding="utf-8")
    assert all(f"({page}.md)" in listed for page in pages)


@pytest.mark.parametrize("page", [*RECIPES, "receiver"])
def test_block_loads_and_nothing_in_it_surprises(page: str) -> None:
    variables = RECIPES[page][0] if page in RECIPES else OWN
    settings = settings_of(page, variables)
    (destination,) = settings.destinations
    assert [rule.action.to for rule in settings.rules] == [(destination.name,)] * 2  # type: ignore[union-attr]
    assert try_templates(destination) == []
    # Whoever is not ours cannot verify our signature.
    unsigned = 0 if page == "receiver" else 1
    assert len(config_warnings(settings)) == unsigned


@pytest.mark.parametrize("page", [*RECIPES, "receiver"])
def test_variables_stand_at_the_top_of_the_block(page: str) -> None:
    variables = RECIPES[page][0] if page in RECIPES else OWN
    top, _, rest = block(page, "toml").partition("\n")
    used = set(re.findall(r"\$\{(\w+)\}", rest)) - set(HUB)
    assert used == set(variables) == set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", top))


@pytest.mark.parametrize("page", RECIPES)
def test_downstream_is_sent_what_it_documents(
    page: str, downstream: ScriptedServer, client: DestinationClient
) -> None:
    variables, for_published, for_deleted = RECIPES[page]
    (destination,) = settings_of(page, variables).destinations
    there = redirected(destination, downstream.url)
    for message, wanted in ((published(), for_published), (deleted(), for_deleted)):
        downstream.received.clear()
        client.send(there, message, now=datetime.now(UTC))
        (request,) = downstream.received
        _compare(request, wanted, gzipped=destination.gzip)


def _compare(request: Received, wanted: Sent, *, gzipped: bool) -> None:
    assert (request.method, request.path) == (wanted.method, wanted.path)
    assert {name: request.headers.get(name) for name in wanted.headers} == dict(wanted.headers)
    if wanted.json is None:
        assert request.body == b""
        assert "content-type" not in request.headers
        return
    assert request.headers["content-type"] == "application/json"
    assert request.headers.get("content-encoding") == ("gzip" if gzipped else None)
    body = gzip.decompress(request.body) if gzipped else request.body
    assert json.loads(body) == wanted.json


@pytest.mark.parametrize("page", ["netlify", "vercel"])
def test_many_items_make_one_build(page: str) -> None:
    (destination,) = settings_of(page, RECIPES[page][0]).destinations
    assert (destination.coalesce, destination.coalesce_over) == (10, "destination")
