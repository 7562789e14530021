"""Content Delivery 2: published content, as anyone may read it.

The same calls work on the CDN, the Fresh API and a virtual staging environment; which one it is,
and whether what it gives is old, this module must not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from app.amplience.answers import value_at
from app.amplience.filtering import FilterQuery
from app.amplience.http import AmplienceHttp, Call, excerpt, read_json
from app.amplience.pace import Pace
from app.config import Delivery
from app.errors import AmplienceError, NotFound, RateLimited, Refused, Unavailable

# https://amplience.com/developers/docs/apis/limits
MOST_AT_ONCE = 12
DEEPEST = 22
NOT_FOUND = "CONTENT_NOT_FOUND"
# The Fresh API takes 100 calls a second with a key, and for a moment 200. Half of it for one
# process: 600 items a second, more than it can forward. Several may ask for more together, and
# what is over the limit is answered 429 and waits in the queue.
FRESH_RATE, FRESH_BURST = 50.0, 50
# 12 items a page; should an answer never end, we must.
MOST_FILTER_PAGES = 20_000

_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_KEY = re.compile(r"(?!/)[A-Za-z0-9_/-]{1,150}(?<!/)")
_LOCALE = re.compile(r"\*|[A-Za-z0-9]{1,8}([-_][A-Za-z0-9]{1,8})*([-_]\*)?")


@dataclass(frozen=True)
class ContentParameters:
    """How content is to be shown; equal ones can share a call.

    `locale` is a list like `fr-FR,en-*,*`, tried from left to right for each localized field; None
    asks for every locale's value. Refused where a value is none that Content Delivery 2 knows.
    """

    depth: Literal["root", "all"] = "all"
    format: Literal["linked", "inlined"] = "inlined"
    locale: str | None = None

    def __post_init__(self) -> None:
        # GET takes numbers from 0 to 22 as well; for this POST none are documented.
        if self.depth not in ("root", "all"):
            raise Refused("depth must be root or all")
        _check_form(self.format, self.locale)

    @property
    def as_json(self) -> dict[str, str]:
        """The form that goes over the wire."""
        shown = {"depth": self.depth, "format": self.format}
        return shown | ({"locale": self.locale} if self.locale else {})


@dataclass(frozen=True)
class ReadParameters:
    """How one item is to be shown by GET, which takes a number of levels, 0 to 22, as `depth` too.

    0 is `root`. All else is as in `ContentParameters`.
    """

    depth: Literal["root", "all"] | int = "all"
    format: Literal["linked", "inlined"] = "inlined"
    locale: str | None = None

    def __post_init__(self) -> None:
        is_level = type(self.depth) is int and 0 <= self.depth <= DEEPEST
        if self.depth not in ("root", "all") and not is_level:
            raise Refused(f"depth must be root, all, or a number from 0 to {DEEPEST}")
        _check_form(self.format, self.locale)

    @property
    def as_query(self) -> dict[str, str]:
        """The form that goes over the wire."""
        shown = {"depth": str(self.depth), "format": self.format}
        return shown | ({"locale": self.locale} if self.locale else {})


@dataclass(frozen=True)
class ContentRequest:
    """One item to fetch, by its `id` or its delivery `key`: exactly one of them.

    `overrides` win over the parameters of the call, for this item. Refused where the id or key can
    not be one; a delivery key has 1 to 150 of `a-z A-Z 0-9 - _ /` and no `/` at either end
    (https://amplience.com/docs/development/delivery-keys/validation.html).
    """

    id: str | None = None
    key: str | None = None
    overrides: ContentParameters | None = None

    def __post_init__(self) -> None:
        if (self.id is None) == (self.key is None):
            raise Refused("content is asked for by its id or by its delivery key")
        if self.id is not None and not _ID.fullmatch(self.id):
            raise Refused("that is no content item id: only letters, digits and dashes make one")
        if self.key is not None and not _KEY.fullmatch(self.key):
            raise Refused("a delivery key has 1 to 150 of a-z A-Z 0-9 - _ / and no / at either end")

    @property
    def as_json(self) -> dict[str, Any]:
        """The form that goes over the wire."""
        named = {"id": self.id} if self.id is not None else {"key": self.key}
        return named | ({"overrides": self.overrides.as_json} if self.overrides else {})


@dataclass(frozen=True)
class DeliveredContent:
    """One item's published content.

    `linked_content` holds the items that it links to, each once and in no order: only with format
    `linked`, and where links were followed at all, else None. Nothing in the content says which
    version it is.
    """

    content: Mapping[str, Any] = field(repr=False)
    linked_content: Sequence[Any] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class ContentMissing:
    """The item is not published: never was, was unpublished, or is unknown."""

    request: ContentRequest


FetchResult = DeliveredContent | ContentMissing | AmplienceError


@dataclass(frozen=True)
class FilterPage:
    """Up to 12 items that match, and what asks for those that follow; None on the last page."""

    contents: tuple[DeliveredContent, ...]
    cursor: str | None = None


class DeliveryClient:
    """One source of published content, safe to share between threads."""

    def __init__(self, delivery: Delivery) -> None:
        self.source = delivery.source
        self._http = AmplienceHttp(delivery.url)
        self._api_key = delivery.api_key
        self._pace = Pace(FRESH_RATE, FRESH_BURST) if delivery.source == "fresh" else None

    def close(self) -> None:
        """Close the kept connections."""
        self._http.close()

    def fetch(
        self, requests: Sequence[ContentRequest], parameters: ContentParameters
    ) -> list[FetchResult]:
        """Fetch items in calls of up to 12: `POST /content/fetch {parameters, requests}`.

        The results are in the order of `requests`. An item that is not published is a
        ContentMissing, one that failed for another reason is an error as a value: the others are
        good all the same. Raises when a whole call fails; never NotFound, because a 404 for the
        call says that there is no Content Delivery 2 at this address.
        """
        results: list[FetchResult] = []
        for start in range(0, len(requests), MOST_AT_ONCE):
            results += self._fetch_at_once(requests[start : start + MOST_AT_ONCE], parameters)
        return results

    def by_id(self, item_id: str, parameters: ReadParameters | None = None) -> DeliveredContent:
        """One item by its content item id: `GET /content/id/{id}`.

        NotFound when it is not published (or unknown); Refused where `item_id` can be none.
        """
        return self._read(f"/content/id/{ContentRequest(id=item_id).id}", parameters)

    def by_key(self, key: str, parameters: ReadParameters | None = None) -> DeliveredContent:
        """One item by a delivery key: `GET /content/key/{key}`.

        An old key goes on giving the version that was published with it
        (https://amplience.com/developers/docs/dev-tools/guides-tutorials/delivery-keys), so keep
        items under their ids. NotFound when nothing is published under it, Refused where it can be
        none.
        """
        return self._read(f"/content/key/{ContentRequest(key=key).key}", parameters)

    def filter(
        self, query: FilterQuery, parameters: ContentParameters, *, cursor: str | None = None
    ) -> FilterPage:
        """One page of the items that match: `POST /content/filter {filterBy, sortBy, page, …}`.

        `cursor` of an earlier page asks for the one after it, with the same query and parameters.
        Refused where a path is not filterable in its content type, or the cursor is none.
        """
        page = {"size": query.size} | ({"cursor": cursor} if cursor else {})
        body = {**query.as_json, "page": page, "parameters": parameters.as_json}
        answer = self._ask("POST", "/content/filter", json=body)
        entries = value_at(answer, "responses")
        if not isinstance(entries, list):
            raise Unavailable("/content/filter answered without a list of contents")
        following = value_at(answer, "page", "nextCursor")
        return FilterPage(
            contents=tuple(_content(entry, "/content/filter") for entry in entries),
            cursor=following if isinstance(following, str) and following else None,
        )

    def filter_pages(
        self, query: FilterQuery, parameters: ContentParameters, *, cursor: str | None = None
    ) -> Iterator[FilterPage]:
        """Every page from `cursor` on, each asked for when it is reached.

        A page's own `cursor` is where to go on later. What is published or unpublished meanwhile
        may be missed or come twice: how a cursor takes it is not documented. Unavailable when the
        pages have no end.
        """
        for _ in range(MOST_FILTER_PAGES):
            page = self.filter(query, parameters, cursor=cursor)
            yield page
            if page.cursor is None:
                return
            if page.cursor == cursor:
                raise Unavailable("/content/filter gave the same cursor twice")
            cursor = page.cursor
        raise Unavailable(f"/content/filter gave more than {MOST_FILTER_PAGES} pages")

    def filter_all(
        self, query: FilterQuery, parameters: ContentParameters
    ) -> Iterator[DeliveredContent]:
        """Every item that matches; as `filter_pages`."""
        for page in self.filter_pages(query, parameters):
            yield from page.contents

    def _read(self, path: str, parameters: ReadParameters | None) -> DeliveredContent:
        query = (parameters or ReadParameters()).as_query
        return _content(self._ask("GET", path, query=query), path)

    def _fetch_at_once(
        self, requests: Sequence[ContentRequest], parameters: ContentParameters
    ) -> list[FetchResult]:
        asked = [request.as_json for request in requests]
        body = {"parameters": parameters.as_json, "requests": asked}
        return _results(self._ask("POST", "/content/fetch", json=body), requests)

    def _ask(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, json: Any = None
    ) -> Any:
        headers = {"X-API-Key": self._api_key} if self._api_key else {}
        call = Call(method, path, query=query or {}, headers=headers, json=json, only_reads=True)
        if self._pace:
            self._pace.wait()
        try:
            return read_json(self._http.perform(call), call=call, hide=self._api_key or "")
        except NotFound as problem:
            # Only this code says that the item is not published. Any other 404 is the host's own.
            if method == "GET" and problem.code == NOT_FOUND:
                raise
            raise Refused(
                f"there is no Content Delivery 2 at {self._http.host}: check the hub's name",
                status=problem.status,
                code=problem.code,
                refusing=True,
            ) from problem


def _results(answer: Any, requests: Sequence[ContentRequest]) -> list[FetchResult]:
    # Answers do not repeat what was asked for: they belong together by their place alone, so a
    # wrong count would give one item the content of another.
    entries = value_at(answer, "responses")
    if not isinstance(entries, list) or len(entries) != len(requests):
        found = len(entries) if isinstance(entries, list) else "no list of"
        raise Unavailable(
            f"/content/fetch was asked for {len(requests)} items and gave {found} answers"
        )
    return [_result(entry, request) for entry, request in zip(entries, requests, strict=True)]


def _result(entry: Any, request: ContentRequest) -> FetchResult:
    if value_at(entry, "error", "type") == NOT_FOUND:
        return ContentMissing(request)
    try:
        return _content(entry, "/content/fetch")
    except AmplienceError as problem:
        return problem


def _content(entry: Any, path: str) -> DeliveredContent:
    content = value_at(entry, "content")
    if isinstance(content, dict):
        linked = value_at(entry, "linkedContent")
        return DeliveredContent(content, linked if isinstance(linked, list) else None)
    code = value_at(entry, "error", "type")
    message = value_at(entry, "error", "message")
    kind = RateLimited if code == "THROTTLED_REQUEST" else Unavailable
    # The list of these errors is published nowhere: an unknown one may pass.
    raise kind(
        excerpt(f"{path} gave no content for an item: {code or 'unknown'}: {message}"),
        code=code if isinstance(code, str) else None,
    )


def _check_form(form: str, locale: str | None) -> None:
    if form not in ("linked", "inlined"):
        raise Refused("format must be linked or inlined")
    if locale is not None and not _is_locale_list(locale):
        raise Refused("locale must be a list like fr-FR,en-*,* without spaces")


def _is_locale_list(text: str) -> bool:
    return all(_LOCALE.fullmatch(part) for part in text.split(","))
