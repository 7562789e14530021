"""Content Delivery 2: published content, as anyone may read it.

The same calls work on the CDN, the Fresh API and a virtual staging environment; which one it is,
and whether what it gives is old, this module must not know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from app.amplience.answers import value_at
from app.amplience.http import AmplienceHttp, Call, excerpt, read_json
from app.config import Delivery
from app.errors import AmplienceError, NotFound, RateLimited, Refused, Unavailable

# https://amplience.com/developers/docs/apis/limits
MOST_AT_ONCE = 12

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
        if self.format not in ("linked", "inlined"):
            raise Refused("format must be linked or inlined")
        if self.locale is not None and not _is_locale_list(self.locale):
            raise Refused("locale must be a list like fr-FR,en-*,* without spaces")

    @property
    def as_json(self) -> dict[str, str]:
        """The form that goes over the wire."""
        shown = {"depth": self.depth, "format": self.format}
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

    `linked_content` holds the items that it links to, in no order: only with format `linked` and
    depth `all`, else None. Nothing in the content says which version it is.
    """

    content: Mapping[str, Any] = field(repr=False)
    linked_content: Sequence[Any] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class ContentMissing:
    """The item is not published: never was, was unpublished, or is unknown."""

    request: ContentRequest


FetchResult = DeliveredContent | ContentMissing | AmplienceError


class DeliveryClient:
    """One source of published content, safe to share between threads."""

    def __init__(self, delivery: Delivery) -> None:
        self.source = delivery.source
        self._http = AmplienceHttp(delivery.url)
        self._api_key = delivery.api_key

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

    def _fetch_at_once(
        self, requests: Sequence[ContentRequest], parameters: ContentParameters
    ) -> list[FetchResult]:
        call = Call(
            "POST",
            "/content/fetch",
            headers={"X-API-Key": self._api_key} if self._api_key else {},
            json={
                "parameters": parameters.as_json,
                "requests": [request.as_json for request in requests],
            },
            only_reads=True,
        )
        try:
            answer = read_json(self._http.perform(call), call=call, hide=self._api_key or "")
        except NotFound as problem:
            raise Refused(
                f"there is no Content Delivery 2 at {self._http.host}: check the hub's name",
                status=problem.status,
                code=problem.code,
            ) from problem
        return _results(answer, requests)


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
    content = value_at(entry, "content")
    if isinstance(content, dict):
        linked = value_at(entry, "linkedContent")
        return DeliveredContent(content, linked if isinstance(linked, list) else None)
    code = value_at(entry, "error", "type")
    if code == "CONTENT_NOT_FOUND":
        return ContentMissing(request)
    message = value_at(entry, "error", "message")
    kind = RateLimited if code == "THROTTLED_REQUEST" else Unavailable
    # The list of these errors is published nowhere: an unknown one may pass.
    return kind(
        excerpt(f"/content/fetch gave no content for an item: {code or 'unknown'}: {message}"),
        code=code if isinstance(code, str) else None,
    )


def _is_locale_list(text: str) -> bool:
    return all(_LOCALE.fullmatch(part) for part in text.split(","))
