"""Here the schema itself is tested, and changed: each test has a database of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.db import Storage, upgrade_schema


@pytest.fixture
def storage(empty_database_url: str) -> Iterator[Storage]:
    """A database with our tables, made by the migrations."""
    opened = Storage(empty_database_url)
    upgrade_schema(opened)
    yield opened
    opened.close()
