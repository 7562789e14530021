"""Gather what many worker threads fetch at the same moment into few calls: a data loader.

Content Delivery 2 takes 12 items in one call, and jobs ask for one each. The first thread that
asks opens a group, waits a moment for others, and makes the call for all of them. This module must
not know what the content is for, and keeps nothing afterwards: it is no cache.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from threading import Event, Lock
from typing import Protocol

from app.amplience.delivery import (
    MOST_AT_ONCE,
    ContentMissing,
    ContentParameters,
    ContentRequest,
    DeliveredContent,
    FetchResult,
)
from app.errors import AmplienceError, NotFound, Unavailable


class Fetching(Protocol):
    """What the loader needs of a `DeliveryClient`."""

    def fetch(
        self, requests: Sequence[ContentRequest], parameters: ContentParameters
    ) -> list[FetchResult]:
        """The results, in the order of the requests."""


class _Group:
    """The items of one call. `full` wakes the thread that leads, `done` those that follow."""

    def __init__(self) -> None:
        self.requests: dict[str, ContentRequest] = {}
        self.results: dict[str, FetchResult] = {}
        self.failure: BaseException | None = None
        self.full = Event()
        self.done = Event()


class ContentLoader:
    """Loads single items for many threads; those that come within `window` seconds share a call.

    A group that reaches `most` items leaves at once. It needs no thread of its own.
    """

    def __init__(
        self, client: Fetching, *, window: float = 0.010, most: int = MOST_AT_ONCE
    ) -> None:
        self._client = client
        self._window = window
        self._most = most
        self._lock = Lock()
        self._open: dict[ContentParameters, _Group] = {}

    def load(self, item_id: str, parameters: ContentParameters) -> DeliveredContent:
        """The published content of one item.

        Raises NotFound, to this caller alone, when the item is not published, and an item's own
        error likewise. When the whole call fails, each caller of its group raises its own copy of
        the error. Refused at once where `item_id` can be none.
        """
        group, leads = self._join(ContentRequest(id=item_id), item_id, parameters)
        if leads:
            self._lead(group, parameters)
        else:
            # Without a limit: the leader always ends, because the client has its timeouts.
            group.done.wait()
            if group.failure is not None:
                raise _own_copy(group.failure) from group.failure
        return _content(group.results[item_id])

    def _join(
        self, request: ContentRequest, item_id: str, parameters: ContentParameters
    ) -> tuple[_Group, bool]:
        """The group to be in, and whether this thread opened it and so leads it."""
        with self._lock:
            group = self._open.get(parameters)
            leads = group is None
            if group is None:
                group = self._open[parameters] = _Group()
            group.requests[item_id] = request
            if len(group.requests) >= self._most:
                del self._open[parameters]
                group.full.set()
            return group, leads

    def _lead(self, group: _Group, parameters: ContentParameters) -> None:
        try:
            group.full.wait(self._window)
            with self._lock:
                # From here on nobody joins. A full group was closed by the one that filled it.
                if self._open.get(parameters) is group:
                    del self._open[parameters]
            results = self._client.fetch(list(group.requests.values()), parameters)
            group.results = dict(zip(group.requests, results, strict=True))
        except BaseException as failure:
            group.failure = failure
            raise
        finally:
            group.done.set()


def _content(result: FetchResult) -> DeliveredContent:
    if isinstance(result, DeliveredContent):
        return result
    if isinstance(result, ContentMissing):
        raise NotFound("the item is not published", status=404, code="CONTENT_NOT_FOUND")
    # A copy: two callers may have asked for the same item.
    raise _own_copy(result)


def _own_copy(failure: BaseException) -> AmplienceError:
    """An error of the thread's own: a shared one would collect every thread's traceback."""
    if isinstance(failure, AmplienceError):
        return copy.copy(failure)
    return Unavailable("the call that this item was gathered into broke off")
