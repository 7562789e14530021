"""Fixtures that many rooms share: both databases, and an environment without our variables."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from app.storage import Storage, upgrade_schema

TEST_DATABASE_URL = os.environ.get("TEST_DATABASE_URL", "")


def pytest_report_header() -> str:
    """Say aloud whether PostgreSQL is part of this run."""
    if TEST_DATABASE_URL:
        return "postgres: on"
    return "postgres: SKIPPED, because TEST_DATABASE_URL is not set"


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a new SQLite file."""
    return f"sqlite:///{tmp_path}/relay.db"


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """The URL of a new PostgreSQL database, which is dropped afterwards."""
    if not TEST_DATABASE_URL:
        pytest.skip("TEST_DATABASE_URL is not set")
    admin = make_url(TEST_DATABASE_URL.replace("postgres://", "postgresql://", 1))
    admin = admin.set(drivername="postgresql+psycopg")
    name = f"dc_relay_test_{uuid.uuid4().hex[:12]}"
    server = Storage(admin.render_as_string(hide_password=False))
    with server.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE template0'))
    yield admin.set(database=name).render_as_string(hide_password=False)
    with server.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    server.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a new, empty database: SQLite, then PostgreSQL."""
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    return str(request.getfixturevalue(name))


@pytest.fixture
def storage(database_url: str) -> Iterator[Storage]:
    """A database with our tables: SQLite, then PostgreSQL."""
    opened = Storage(database_url, pool_size=20)
    upgrade_schema(opened)
    yield opened
    opened.close()
