"""Published items of a content type, and items that were sent but are no longer published.

A search that does not find an item proves nothing: Content Delivery 2 must not have it, and the
Management API must say that it is not published.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from app.amplience.delivery import (
    MOST_AT_ONCE,
    MOST_FILTER_PAGES,
    ContentMissing,
    ContentParameters,
    ContentRequest,
    DeliveryClient,
    FilterPage,
)
from app.amplience.filtering import FilterQuery
from app.amplience.management import ManagementClient
from app.amplience.publishing import PUBLISHED
from app.errors import AppError, NotFound, Unavailable
from app.events import ContentItem
from app.operations.bulk import BulkItem, Part, patiently

# Only ids are wanted of what is listed: each job pulls its item by itself.
SHALLOW = ContentParameters(depth="root", format="linked")
_MOST_REMOVED = 0.5


def published_pages(
    client: DeliveryClient, schema: str, cursor: str | None
) -> Iterator[FilterPage]:
    """The published items of a content type, page by page from `cursor` on.

    Refused where the cursor is none any more.
    """
    query = FilterQuery(where=(("/_meta/schema", schema),))
    for _ in range(MOST_FILTER_PAGES):
        page = patiently(lambda at=cursor: client.filter(query, SHALLOW, cursor=at))  # type: ignore[misc]
        yield page
        if page.cursor is None:
            return
        if page.cursor == cursor:
            raise Unavailable("/content/filter gave the same cursor twice")
        cursor = page.cursor
    raise Unavailable(f"/content/filter gave more than {MOST_FILTER_PAGES} pages")


class TooManyRemovals(AppError):
    """More than half of what was sent would be removed, and `Removals.confirmed` is not set."""


@dataclass(frozen=True)
class Removals:
    """Finds what is to be removed.

    `sent` returns what the destination was sent as published; see `published_before`. Without
    `management` nothing is removed. Removing more than half of `sent` must be `confirmed`; in a
    `dry_run` the part carries a notice in place of the error.
    """

    sent: Callable[[], Mapping[str, tuple[str, int]]]
    delivery: DeliveryClient
    management: ManagementClient | None
    confirmed: bool = False
    dry_run: bool = False

    def parts(self, listed: set[str]) -> Iterator[Part]:
        """Items that are gone, of those that were sent and are not `listed`."""
        known = self.sent()
        missing = [identifier for identifier in known if identifier not in listed]
        if not missing:
            return
        if self.management is None:
            yield Part(
                notice=f"{len(missing)} items that were sent earlier were not found; without"
                " credentials for the Management API they are not removed."
            )
            return
        gone = [
            item
            for start in range(0, len(missing), MOST_AT_ONCE)
            for item in self._gone(self.management, missing[start : start + MOST_AT_ONCE], known)
        ]
        if gone:
            yield Part(tuple(gone), notice=self._check(len(gone), len(known)))

    def _gone(
        self,
        management: ManagementClient,
        missing: list[str],
        known: Mapping[str, tuple[str, int]],
    ) -> Iterator[BulkItem]:
        requests = [ContentRequest(id=identifier) for identifier in missing]
        found = patiently(lambda: self.delivery.fetch(requests, SHALLOW))
        for identifier, result in zip(missing, found, strict=True):
            if not isinstance(result, ContentMissing):
                continue
            item = patiently(lambda at=identifier: _read(management, at))  # type: ignore[misc]
            if item is None or item.publishing_status not in PUBLISHED:
                schema, version = known[identifier]
                yield _removal(identifier, item, schema, version)

    def _check(self, gone: int, known: int) -> str | None:
        if self.confirmed or gone <= known * _MOST_REMOVED:
            return None
        text = f"{gone} of {known} items that were sent would be removed."
        if not self.dry_run:
            raise TooManyRemovals(
                f"{text} If that is right, run the same command with --remove-many. What is"
                " published is being sent; nothing is removed."
            )
        return f"{text} It will need --remove-many."


def _read(management: ManagementClient, item_id: str) -> ContentItem | None:
    try:
        return management.content_item(item_id)
    except NotFound as error:
        if error.refusing:
            raise
        return None


def _removal(identifier: str, item: ContentItem | None, schema: str, version: int) -> BulkItem:
    return BulkItem(
        identifier,
        "remove",
        label=item.label if item else None,
        schema=schema,
        locale=item.locale if item else None,
        extra={
            "version": version,
            "delivery_key": item.delivery_key if item else None,
        },
    )
