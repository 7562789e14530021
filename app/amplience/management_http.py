"""The one way to the Management API: paths, pages and the token.

Paths are built from ids, never taken from links: a link may hold another host, and a webhook's
links are whatever its sender wrote. A call is repeated only once: after a token that was refused.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from app.amplience import answers
from app.amplience.auth import Tokens, tokens_for
from app.amplience.http import AmplienceHttp, Call, HttpAnswer, error_of, read_json
from app.config import AmplienceHosts, ClientCredentials, PersonalAccessToken
from app.errors import Refused

PAGE_SIZE = 100
# No collection that we read has so many pages; an answer that says so would keep us for ever.
MOST_PAGES = 500


class ManagementHttp:
    """Calls to the Management API with one set of credentials, safe to share between threads."""

    def __init__(
        self,
        *,
        credentials: ClientCredentials | PersonalAccessToken,
        hosts: AmplienceHosts | None = None,
        tokens: Tokens | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        hosts = hosts or AmplienceHosts()
        self._http = AmplienceHttp(hosts.api_url)
        self._tokens = tokens or tokens_for(credentials, auth_url=hosts.auth_url, clock=clock)
        self._clock = clock

    def close(self) -> None:
        """Close the kept connections."""
        self._http.close()
        self._tokens.close()

    def _pages(self, path: str, rel: str, **query: str) -> Iterator[Any]:
        for number in range(MOST_PAGES):
            page = self._get(path, **query, page=number, size=PAGE_SIZE)
            entries = answers.embedded(page, rel)
            yield from entries
            pages = answers.total_pages(page)
            is_last = len(entries) < PAGE_SIZE if pages is None else number + 1 >= pages
            if is_last:
                return

    def _get(self, path: str, **query: str | int) -> Any:
        return self._ask(Call("GET", path, query=query))

    def _post(self, path: str, body: Any) -> Any:
        return self._ask(Call("POST", path, json=body))

    def _ask(self, call: Call) -> Any:
        answer, token = self._answer(call)
        return read_json(answer, call=call, hide=token)

    def _order(self, call: Call) -> HttpAnswer:
        """Make a call whose answer needs no body; raises the error that fits unless it succeeds."""
        answer, token = self._answer(call)
        if not answer.ok:
            raise error_of(answer, call=call, hide=token)
        return answer

    def _answer(self, call: Call) -> tuple[HttpAnswer, str]:
        token = self._tokens.bearer()
        answer = self._perform(call, token)
        # An expired token answers 403 like a missing permission (dc-cli issue #94), so only a
        # fresh one tells them apart.
        if answer.status in (401, 403):
            self._tokens.forget(token)
            fresh = self._tokens.bearer()
            if fresh != token:
                token = fresh
                answer = self._perform(call, token)
        return answer, token

    def _perform(self, call: Call, token: str) -> HttpAnswer:
        return self._http.perform(replace(call, headers={"Authorization": f"Bearer {token}"}))


def path_id(value: str) -> str:
    """`value` if it can only be one part of a path. Amplience's ids are UUIDs or 24 hex digits."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", value):
        raise Refused("that is no id of Amplience's: only letters, digits and dashes make one")
    return value
