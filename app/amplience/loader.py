"""Gather what many worker threads fetch at the same moment into few calls: a data loader.

Content Delivery 2 takes 12 items in one call, and jobs ask for one each. The first thread that
asks opens a group, waits a moment for others, and makes the call for all of them. Room that is left
goes to those who come next, if the caller can name them. It is no
cache: what was loaded ahead is for one caller, once, and soon.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from app.errors import AmplienceError, NotFound, Refused, Unavailable
from app.observability import tracing


class Fetching(Protocol):
    """What the loader needs of a `DeliveryClient`."""

    def fetch(
        self, requests: Sequence[ContentRequest], parameters: ContentParameters
    ) -> list[FetchResult]:
        """The results, in the order of the requests."""


@dataclass(frozen=True)
class Turn:
    """Who loads, and who comes next.

    A `ticket` is for one caller: content that was loaded ahead for it came after that caller's
    reason to load, so it is never older than what the caller would get by itself. `upcoming` gives
    the tickets and item ids of the next callers that will ask with the same parameters, at most as
    many as it is asked for; it is called once for each call, by the thread that makes it.
    """

    ticket: int
    upcoming: Callable[[int], Sequence[tuple[int, str]]]


class _Group:
    """The items of one call. `full` wakes the thread that leads, `done` those that follow."""

    def __init__(self) -> None:
        self.requests: dict[str, ContentRequest] = {}
        # Where in a trace each caller is: the call is made for all of them.
        self.places: list[tracing.SpanContext] = []
        self.results: dict[str, FetchResult] = {}
        self.failure: BaseException | None = None
        self.full = Event()
        self.done = Event()


class ContentLoader:
    """Loads single items for many threads; those that come within `window` seconds share a call.

    A group that reaches `most` items leaves at once. What was loaded ahead and not asked for within
    `kept_for` seconds is loaded again. It needs no thread of its own.
    """

    def __init__(
        self,
        client: Fetching,
        *,
        window: float = 0.010,
        most: int = MOST_AT_ONCE,
        kept_for: float = 5.0,
    ) -> None:
        self._client = client
        self._kept_for = kept_for
        self._window = window
        self._most = most
        self._lock = Lock()
        self._open: dict[ContentParameters, _Group] = {}
        self._ahead: dict[int, tuple[_Group, float]] = {}

    def load(
        self, item_id: str, parameters: ContentParameters, turn: Turn | None = None
    ) -> DeliveredContent:
        """The published content of one item.

        Raises NotFound, to this caller alone, when the item is not published, and an item's own
        error likewise. When the whole call fails, each caller of its group raises its own copy of
        the error. Refused at once where `item_id` can be none.
        """
        request = ContentRequest(id=item_id)
        group, leads = self._loaded_ahead(turn), False
        if group is None:
            group, leads = self._join(request, item_id, parameters)
        if leads:
            self._lead(group, parameters, turn)
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
            group.places.append(tracing.here())
            if len(group.requests) >= self._most:
                del self._open[parameters]
                group.full.set()
            return group, leads

    def _loaded_ahead(self, turn: Turn | None) -> _Group | None:
        """The group that has, or is about to have, what was loaded ahead for this caller."""
        if turn is None:
            return None
        with self._lock:
            group, until = self._ahead.pop(turn.ticket, (None, 0.0))
        return group if time.monotonic() < until else None

    def _fill(self, group: _Group, turn: Turn) -> None:
        """Give the room that is left in a closed group to those who come next."""
        now = time.monotonic()
        with self._lock:
            self._ahead = {n: kept for n, kept in self._ahead.items() if kept[1] > now}
            known = len(self._ahead)
        upcoming = turn.upcoming(self._most + known)
        with self._lock:
            for ticket, item_id in upcoming:
                if len(group.requests) >= self._most:
                    return
                # One that is in two groups would be asked for twice; the first is as good.
                if ticket not in self._ahead and (request := _request(item_id)):
                    group.requests[item_id] = request
                    self._ahead[ticket] = (group, now + self._kept_for)

    def _lead(self, group: _Group, parameters: ContentParameters, turn: Turn | None) -> None:
        try:
            group.full.wait(self._window)
            with self._lock:
                # From here on nobody joins. A full group was closed by the one that filled it.
                if self._open.get(parameters) is group:
                    del self._open[parameters]
            if turn is not None and len(group.requests) < self._most:
                self._fill(group, turn)
            # The call is of the leader's trace, and linked to those of the others.
            with tracing.on_behalf_of(group.places):
                results = self._client.fetch(list(group.requests.values()), parameters)
            group.results = dict(zip(group.requests, results, strict=True))
        except BaseException as failure:
            group.failure = failure
            raise
        finally:
            group.done.set()


def _request(item_id: str) -> ContentRequest | None:
    """The request of one who comes next; who asks for an impossible id is told when it asks."""
    try:
        return ContentRequest(id=item_id)
    except Refused:
        return None


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
