"""The same client that talks to Amplience, against the stand-in that keeps its documented rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from app.amplience.delivery import (
    ContentMissing,
    ContentParameters,
    ContentRequest,
    DeliveredContent,
    DeliveryClient,
)
from app.amplience.loader import ContentLoader
from app.amplience.management import ManagementClient
from app.config import AmplienceHosts, ClientCredentials, Delivery, PersonalAccessToken
from app.errors import (
    NotFound,
    RateLimited,
    Refused,
    Unauthorized,
    Unavailable,
    VersionConflict,
)
from sandbox import SandboxOptions, SandboxServer

SCHEMA = "https://schema.example.com/banner.json"
Credentials = ClientCredentials | PersonalAccessToken
Connect = Callable[..., ManagementClient]


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(SandboxOptions(localize_delay=0.01, publish_delay=0.01), port=0) as server:
        yield server


@pytest.fixture
def connect(sandbox: SandboxServer, closing: ExitStack) -> Connect:
    options = SandboxOptions()
    usual = ClientCredentials(options.client_id, options.client_secret)

    def to(credentials: Credentials = usual) -> ManagementClient:
        hosts = AmplienceHosts(auth_url=sandbox.url, api_url=f"{sandbox.url}/v2/content")
        client = ManagementClient(credentials=credentials, hosts=hosts)
        closing.callback(client.close)
        return client

    return to


@pytest.fixture
def fresh(sandbox: SandboxServer, closing: ExitStack) -> DeliveryClient:
    key = SandboxOptions().fresh_api_key
    client = DeliveryClient(Delivery(source="fresh", url=f"{sandbox.url}/fresh", api_key=key))
    closing.callback(client.close)
    return client


def _create(sandbox: SandboxServer, *, locale: str | None = "en-GB", key: str | None = None) -> str:
    meta = {"name": "banner", "schema": SCHEMA} | ({"deliveryKey": key} if key else {})
    body = {"_meta": meta, "headline": "Spring"}
    repository = SandboxOptions().repositories[0].id
    return sandbox.content.create(repository, label="Banner", body=body, locale=locale).id


def _publish(sandbox: SandboxServer, item_id: str) -> None:
    sandbox.content.publish(item_id)
    assert sandbox.settle()


def test_item_is_localized_step_by_step(sandbox: SandboxServer, connect: Connect) -> None:
    client = connect()
    item_id = _create(sandbox, locale=None, key="home/banner")
    created = client.content_item(item_id)
    assert (created.locale, created.status, created.schema) == (None, "ACTIVE", SCHEMA)
    assert created.delivery_key == "home/banner"

    item = client.set_locale(item_id, version=created.version, locale="en-GB")
    assert item.locale == "en-GB"
    allowed = client.allowed_locales(item.repository_id, SandboxOptions().hub_id)
    assert set(allowed) == {"en-GB", "fr-FR", "de-DE", "nl-NL"}

    client.localize(item_id, version=item.version, locales=["fr-FR", "de-DE"])
    assert sandbox.settle()
    variants = [one for one in client.localizations(item_id) if one.id != item_id]
    assert {one.locale for one in variants} == {"fr-FR", "de-DE"}
    (job,) = client.localization_jobs(item_id)
    assert set(job.requested_locales) == {"fr-FR", "de-DE"}


def test_old_version_is_a_conflict(sandbox: SandboxServer, connect: Connect) -> None:
    client = connect()
    item_id = _create(sandbox)
    with pytest.raises(VersionConflict):
        client.localize(item_id, version=99, locales=["fr-FR"])
    with pytest.raises(VersionConflict):
        client.set_locale(_create(sandbox, locale=None), version=99, locale="en-GB")


def test_unknown_locale_and_unknown_item(sandbox: SandboxServer, connect: Connect) -> None:
    client = connect()
    item_id = _create(sandbox)
    with pytest.raises(Refused):
        client.localize(item_id, version=1, locales=["xx-XX"])
    with pytest.raises(NotFound):
        client.content_item("00000000-0000-4000-8000-000000000000")


def test_hubs_are_listed(connect: Connect) -> None:
    client = connect()
    assert [hub.name for hub in client.hubs()] == ["sandbox"]
    assert "fr-FR" in client.hub(SandboxOptions().hub_id).locales


def test_personal_access_token_works(sandbox: SandboxServer, connect: Connect) -> None:
    client = connect(PersonalAccessToken(SandboxOptions().personal_access_token))
    assert client.content_item(_create(sandbox)).label == "Banner"


@pytest.mark.parametrize(
    "credentials", [ClientCredentials("sandbox-client", "wrong"), PersonalAccessToken("wrong")]
)
def test_wrong_credentials_are_permanent(connect: Connect, credentials: Credentials) -> None:
    with pytest.raises(Unauthorized) as caught:
        connect(credentials).hubs()
    assert not caught.value.transient


def test_expired_token_is_renewed_without_anybody_noticing(
    sandbox: SandboxServer, connect: Connect
) -> None:
    client = connect()
    client.hubs()
    # Amplience's clock, not ours: the token is dead before we would renew it.
    sandbox.state.advance(400)
    assert client.hubs()


@pytest.mark.parametrize(
    ("fault", "maybe_done"),
    [
        ({"kind": "reset"}, True),
        ({"kind": "status", "status": 503}, True),
        ({"kind": "accept_then_fail", "status": 500}, True),
        ({"kind": "accept_then_fail", "answer": "reset"}, True),
    ],
)
def test_localize_without_a_good_answer_may_have_been_done(
    sandbox: SandboxServer, connect: Connect, fault: dict[str, object], maybe_done: bool
) -> None:
    client = connect()
    item_id = _create(sandbox)
    sandbox.faults.add(where="management", path="/localize", times=1, **fault)
    with pytest.raises(Unavailable) as caught:
        client.localize(item_id, version=1, locales=["fr-FR"])
    assert caught.value.maybe_done is maybe_done


def test_rate_limit_says_when_to_come_back(sandbox: SandboxServer, connect: Connect) -> None:
    client = connect()
    sandbox.faults.add(
        where="management", kind="status", status=429, headers={"Retry-After": "2"}, times=1
    )
    with pytest.raises(RateLimited) as caught:
        client.hubs()
    assert caught.value.retry_after == 2


def test_failing_authorization_server_is_unavailable_and_nothing_was_done(
    sandbox: SandboxServer, connect: Connect
) -> None:
    client = connect()
    item_id = _create(sandbox)
    sandbox.faults.add(where="auth", kind="status", status=500, times=1)
    with pytest.raises(Unavailable) as caught:
        client.localize(item_id, version=1, locales=["fr-FR"])
    assert not caught.value.maybe_done
    client.localize(item_id, version=1, locales=["fr-FR"])


def test_published_content_is_fetched_by_id_and_key(
    sandbox: SandboxServer, fresh: DeliveryClient
) -> None:
    item_id, unpublished = _create(sandbox, key="home/banner"), _create(sandbox)
    _publish(sandbox, item_id)
    requests = [
        ContentRequest(id=item_id),
        ContentRequest(id=unpublished),
        ContentRequest(key="home/banner", overrides=ContentParameters("all", "linked")),
    ]
    by_id, missing, by_key = fresh.fetch(requests, ContentParameters())
    assert isinstance(by_id, DeliveredContent)
    assert by_id.content["headline"] == "Spring"
    assert missing == ContentMissing(requests[1])
    assert isinstance(by_key, DeliveredContent)
    assert by_key.content["_meta"]["deliveryId"] == item_id


def test_wrong_fresh_key_is_permanent(sandbox: SandboxServer, closing: ExitStack) -> None:
    client = DeliveryClient(Delivery(source="fresh", url=f"{sandbox.url}/fresh", api_key="wrong"))
    closing.callback(client.close)
    with pytest.raises(Unauthorized):
        client.fetch([ContentRequest(id="a")], ContentParameters())


def test_loader_shares_calls(sandbox: SandboxServer, fresh: DeliveryClient) -> None:
    item_ids = [_create(sandbox) for _ in range(6)]
    for item_id in item_ids:
        _publish(sandbox, item_id)
    loader = ContentLoader(fresh, window=0.3)
    with ThreadPoolExecutor(12) as threads:
        found = list(threads.map(lambda item: loader.load(item, ContentParameters()), item_ids * 2))
    assert [one.content["_meta"]["deliveryId"] for one in found] == item_ids * 2
    calls = [call for call in list(sandbox.state.calls) if call.where == "fresh"]
    assert len(calls) == 1
