from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from app.amplience.delivery import DeliveryClient
from app.amplience.management import ManagementClient
from app.config import AmplienceHosts, ClientCredentials, Delivery, PersonalAccessToken
from tests.servers import Answering, ScriptedServer

PERSONAL = PersonalAccessToken("amp_pat_1")
Serve = Callable[[Answering], ScriptedServer]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def serve(closing: ExitStack) -> Serve:
    def start(answering: Answering) -> ScriptedServer:
        server = ScriptedServer(answering)
        closing.callback(server.close)
        return server

    return start


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def management(closing: ExitStack, clock: Clock) -> Callable[..., ManagementClient]:
    def connect(
        url: str,
        credentials: ClientCredentials | PersonalAccessToken = PERSONAL,
    ) -> ManagementClient:
        client = ManagementClient(
            credentials=credentials,
            hosts=AmplienceHosts(auth_url=url, api_url=f"{url}/v2/content"),
            clock=clock,
        )
        closing.callback(client.close)
        return client

    return connect


@pytest.fixture
def delivery(closing: ExitStack) -> Callable[..., DeliveryClient]:
    def connect(url: str, api_key: str | None = None) -> DeliveryClient:
        client = DeliveryClient(Delivery(source="fresh", url=url, api_key=api_key))
        closing.callback(client.close)
        return client

    return connect
