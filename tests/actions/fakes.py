"""A Management API in memory, for the decisions of localize that are hard to time over HTTP.

The same promises are tested against the sandbox in `tests/stories`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, cast

from app.actions import Attempt
from app.db import Storage
from app.errors import AmplienceError, NotFound
from app.events import ContentItem
from app.queue import Job

ITEM = "5b0e6d3a-7c1f-4c0e-9e55-1f2a3b4c5d6e"
NOW = 1_741_000_000.0


def item(locale: str | None = "en-GB", **changes: Any) -> ContentItem:
    """An active content item in its first version."""
    made = ContentItem(
        id=ITEM,
        version=1,
        label="Spring banner",
        locale=locale,
        status="ACTIVE",
        repository_id="65f1a0c2d3e4f50001a2b3d5",
        extra={"createdDate": "2025-03-03T09:15:00.120Z"},
    )
    return replace(made, **changes)


def variant(locale: str, **changes: Any) -> ContentItem:
    """A variant that was made after the item."""
    made = item(locale, id=f"variant-{locale}", extra={"createdDate": "2025-03-03T10:00:00.000Z"})
    return replace(made, **changes)


@dataclass
class Amplience:
    """Holds one item and its variants; `problems` are raised by the next localize calls."""

    source: ContentItem | None = field(default_factory=item)
    variants: list[ContentItem] = field(default_factory=list)
    allowed: Sequence[str] = ("en-GB", "fr-FR", "de-DE", "nl-NL")
    problems: list[AmplienceError] = field(default_factory=list)
    before_localize: Callable[[], None] = lambda: None
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    works: bool = True

    def content_item(self, item_id: str) -> ContentItem:
        if self.source is None or self.source.id != item_id:
            raise NotFound("no such content item", status=404)
        return self.source

    def localizations(self, item_id: str) -> Sequence[ContentItem]:
        self.calls.append(("localizations", item_id))
        return list(self.variants)

    def allowed_locales(
        self, repository_id: str | None, hub_id: str | None = None
    ) -> Sequence[str]:
        return self.allowed

    def set_locale(self, item_id: str, *, version: int, locale: str) -> ContentItem:
        assert self.source is not None
        self.calls.append(("set_locale", version, locale))
        self.source = replace(self.source, locale=locale, version=version + 1)
        return self.source

    def localize(
        self,
        item_id: str,
        *,
        version: int,
        locales: Sequence[str],
        replicate_folder_structure: bool = False,
    ) -> None:
        self.calls.append(("localize", version, tuple(locales)))
        self.before_localize()
        if self.problems:
            raise self.problems.pop(0)
        if self.works:
            self.variants += [variant(locale) for locale in locales]

    @property
    def requests(self) -> list[tuple[Any, ...]]:
        """The localize calls: version and locales of each."""
        return [call[1:] for call in self.calls if call[0] == "localize"]


class HeldAttempt(Attempt):
    """An attempt that always owns its job, and remembers its progress as the ledger would."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(job=job(**changes), storage=cast("Storage", None))
        object.__setattr__(self, "written", [])

    written: list[Any]

    def hold(self, *, progress: Any = None) -> None:
        if progress is not None:
            self.written.append(progress)


def job(progress: Any = None, **args: Any) -> Job:
    """A claimed localize job."""
    moment = datetime.fromtimestamp(NOW, tz=UTC)
    return Job(
        id=1,
        owner="worker-1",
        attempt=1,
        failures=0,
        hub="main",
        rule="localize",
        action="localize",
        target="main",
        queue="localize:main",
        key=f"localize:main:{ITEM}",
        version=0,
        args={"item_id": ITEM, "source_locale": "en-GB", "locales": ["fr-FR", "de-DE"], **args},
        progress=progress or {},
        created_at=moment,
        event_id="e1",
        event_name="dynamic-content.content-item.created",
        request_id=None,
        item_id=ITEM,
        snapshot_id=None,
        snapshot_created=None,
        schema=None,
        label="Spring banner",
        locale="en-GB",
        received_at=moment,
    )
