"""Fixtures that many rooms share: both databases, and an environment without our variables."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings
from sqlalchemy import text
from sqlalchemy.engine import make_url

from app.db import Storage, upgrade_schema
from app.db.tables import metadata

# How long an example takes depends on how busy the machine is.
settings.register_profile("dc-relay", deadline=None)
settings.load_profile("dc-relay")

TEST_DATABASE_URL = os.environ.get("TEST_DATABASE_URL", "")


# Beside the stories: whole runs of commands, many inputs, full tables, a door whose database fails.
_SLOWER = (
    "test_api_fuzz",
    "test_bulk_",
    "test_content.py",
    "test_door_under_trouble",
    "test_plans",
    "test_resync",
    "test_webhooks_command",
)


def pytest_report_header() -> str:
    """Say aloud whether PostgreSQL is part of this run."""
    if TEST_DATABASE_URL:
        return "postgres: on"
    return "postgres: SKIPPED, because TEST_DATABASE_URL is not set"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs the whole service."""
    for item in items:
        if "stories" in item.path.parts or item.path.name.startswith(_SLOWER):
            item.add_marker(pytest.mark.stories)


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with our tables, to be copied: running the migrations takes longer."""
    path = tmp_path_factory.mktemp("migrated") / "relay.db"
    opened = Storage(f"sqlite:///{path}")
    upgrade_schema(opened)
    with opened.read() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    opened.close()
    return path


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Storage]:
    """The PostgreSQL server that TEST_DATABASE_URL names."""
    if not TEST_DATABASE_URL:
        pytest.skip("TEST_DATABASE_URL is not set")
    url = make_url(TEST_DATABASE_URL.replace("postgres://", "postgresql://", 1))
    driven = url.set(drivername="postgresql+psycopg")
    # To drop a database takes a checkpoint, and on a busy disk that takes its time.
    server = Storage(driven.render_as_string(hide_password=False), timeout=60)
    yield server
    server.close()


@contextmanager
def _new_database(server: Storage) -> Iterator[str]:
    name = f"dc_relay_test_{uuid.uuid4().hex[:12]}"
    _command(server, f'CREATE DATABASE "{name}" TEMPLATE template0')
    yield server.url.set(database=name).render_as_string(hide_password=False)
    _command(server, f'DROP DATABASE "{name}" WITH (FORCE)')


def _command(server: Storage, command: str) -> None:
    with server.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(command))


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: Storage) -> Iterator[str]:
    """The URL of a PostgreSQL database with our tables, which tests take in turn."""
    with _new_database(postgres_server) as url:
        opened = Storage(url)
        upgrade_schema(opened)
        opened.close()
        yield url


@pytest.fixture
def sqlite_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    """The URL of a SQLite file with our tables and nothing in them."""
    shutil.copy(migrated_sqlite, tmp_path / "relay.db")
    return f"sqlite:///{tmp_path}/relay.db"


@pytest.fixture
def empty_sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path}/new.db"


@pytest.fixture
def postgres_url(postgres_server: Storage) -> Iterator[str]:
    """The URL of a new PostgreSQL database, which is dropped afterwards."""
    with _new_database(postgres_server) as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def empty_database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a new, empty database: SQLite, then PostgreSQL."""
    name = "empty_sqlite_url" if request.param == "sqlite" else "postgres_url"
    return str(request.getfixturevalue(name))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a database with our tables and nothing in them: SQLite, then PostgreSQL."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite_url"))
    url = str(request.getfixturevalue("migrated_postgres"))
    opened = Storage(url)
    names = ", ".join(f'"{table.name}"' for table in metadata.sorted_tables)
    with opened.write() as connection:
        connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
    opened.close()
    return url


@pytest.fixture
def storage(database_url: str) -> Iterator[Storage]:
    """A database with our tables: SQLite, then PostgreSQL."""
    opened = Storage(database_url, pool_size=20)
    yield opened
    opened.close()
