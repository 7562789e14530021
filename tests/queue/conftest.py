from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.db import Storage, upgrade_schema


@pytest.fixture
def sqlite_storage(sqlite_url: str) -> Iterator[Storage]:
    """Where the database makes no difference."""
    opened = Storage(sqlite_url)
    upgrade_schema(opened)
    yield opened
    opened.close()
