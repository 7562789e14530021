"""A sandbox per module, and the databases that a trial of processes runs on."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.db import Storage, upgrade_schema
from sandbox import SandboxOptions, SandboxServer
from tests.certificates import make_certificates
from tests.conftest import TEST_DATABASE_URL
from tests.stories.editing import create, publish

MakeItems = Callable[[int], list[str]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.processes)
            if not sys.platform.startswith("linux"):
                item.add_marker(pytest.mark.skip(reason="looks into /proc"))


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    """A pretend Amplience without webhooks of its own: a test posts them."""
    options = SandboxOptions(publish_delay=0, publish_quota_per_minute=10_000, fresh_rate=10_000)
    with SandboxServer(options) as server:
        yield server


@pytest.fixture
def make_items(sandbox: SandboxServer) -> MakeItems:
    """Makes published items; returns their ids."""

    def make(count: int) -> list[str]:
        items = [create(sandbox, locale="fr-FR") for _ in range(count)]
        for item in items:
            publish(sandbox, item)
        assert sandbox.settle()
        return items

    return make


@pytest.fixture
def database_urls(request: pytest.FixtureRequest, empty_sqlite_url: str) -> list[str]:
    """The URLs of new databases with our tables: SQLite, and PostgreSQL where there is one."""
    urls = [empty_sqlite_url]
    if TEST_DATABASE_URL:
        urls.append(str(request.getfixturevalue("postgres_url")))
    for url in urls:
        storage = Storage(url)
        upgrade_schema(storage)
        storage.close()
    return urls


@pytest.fixture(scope="session")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and a certificate by it of a server on loopback."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not on the PATH")
    folder = tmp_path_factory.mktemp("pem")
    make_certificates(folder)
    return folder
