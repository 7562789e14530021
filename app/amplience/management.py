"""The Management API's verbs that this service uses, under the names that Amplience gives them.

Paths are built from ids, never taken from links: a link may hold another host, and a webhook's
links are whatever its sender wrote. This module must not know why a verb is called, and repeats a
call only once: after a token that was not accepted.

Every verb raises Unauthorized (also for a missing permission: both are 403), RateLimited,
Unavailable or Refused; NotFound and VersionConflict where the verb says so. The verbs are those of
https://amplience.com/developers/docs/apis/content-management-reference/ as the official SDK
(https://github.com/amplience/dc-management-sdk-js) calls them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from threading import Lock
from typing import Any

from app.amplience import answers
from app.amplience.answers import HubProperties, LocalizationJob
from app.amplience.auth import Tokens, tokens_for
from app.amplience.http import AmplienceHttp, Call, HttpAnswer, read_json
from app.config import AmplienceHosts, ClientCredentials, PersonalAccessToken
from app.errors import NotFound, Refused
from app.events import ContentItem

PAGE_SIZE = 100
# No collection that we read has so many pages; an answer that says so would keep us for ever.
MOST_PAGES = 500
LOCALES_LIFE = 300.0


class ManagementClient:
    """The Management API for one set of credentials, safe to share between threads."""

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
        self._locales: dict[tuple[str | None, str | None], tuple[float, tuple[str, ...]]] = {}
        self._locales_lock = Lock()

    def close(self) -> None:
        """Close the kept connections."""
        self._http.close()
        self._tokens.close()

    def hubs(self) -> list[HubProperties]:
        """Every hub that the credentials may see: `GET /hubs`, all pages."""
        return [answers.hub_properties(entry) for entry in self._pages("/hubs", "hubs")]

    def hub(self, hub_id: str) -> HubProperties:
        """One hub: `GET /hubs/{id}`. NotFound where there is none."""
        return answers.hub_properties(self._get(f"/hubs/{_id(hub_id)}"))

    def content_item(self, item_id: str) -> ContentItem:
        """The content item as it is now: `GET /content-items/{id}`.

        Raises NotFound where there is none, and for a moment after it was created
        (https://github.com/amplience/dc-cli/pull/206).
        """
        return answers.content_item(self._get(f"/content-items/{_id(item_id)}"))

    def localizations(self, item_id: str) -> list[ContentItem]:
        """The variants of an item: `GET /content-items/{id}/localizations`, all pages.

        Whether the item itself and archived variants are among them is not documented: look at
        each one's `id`, `locale` and `status`. A variant that was made a moment ago may not be
        there yet. NotFound where there is no such item.
        """
        path = f"/content-items/{_id(item_id)}/localizations"
        found = (answers.content_item(entry) for entry in self._pages(path, "content-items"))
        # A variant that is created while we turn the page moves another one to the next page.
        return list({item.id: item for item in found}.values())

    def localize(
        self,
        item_id: str,
        *,
        version: int,
        locales: Sequence[str],
        replicate_folder_structure: bool = False,
    ) -> None:
        """Ask for variants: `POST /content-items/{id}/localize {version, locales}`.

        The answer (202) promises nothing but an asynchronous job, also where a variant exists
        already and none is made; `localizations` shows when a variant is there. The item must have
        a locale, and `version` must be its latest, else VersionConflict
        (https://amplience.com/docs/development/api-examples/localization/create-localizations.html).
        After an error with `maybe_done` the job may have been started: read before asking again.
        """
        body: dict[str, Any] = {"version": version, "locales": list(locales)}
        # Left out when off: the field is newer than the API that some hubs may still have.
        if replicate_folder_structure:
            body["replicateFolderStructure"] = True
        self._post(f"/content-items/{_id(item_id)}/localize", body)

    def set_locale(self, item_id: str, *, version: int, locale: str) -> ContentItem:
        """Give an item that has no locale its first one, and return it with its new version.

        `POST /content-items/{id}/locale {locale, version}`. A locale can never be changed
        (LOCALE_IMMUTABLE, a Refused); VersionConflict for an old version.
        """
        path = f"/content-items/{_id(item_id)}/locale"
        return answers.content_item(self._post(path, {"locale": locale, "version": version}))

    def allowed_locales(
        self, repository_id: str | None, hub_id: str | None = None
    ) -> tuple[str, ...]:
        """The locales that items of a repository can be localized to, remembered for 5 minutes.

        `GET /content-repositories/{id}/localization-group/locales` answers `{"locales": [...]}`.
        Where it is empty or cannot be asked, those of the hub's settings are taken; a hub may
        have none set, and then nothing is allowed. NotFound or Refused where neither can be asked.
        """
        key = (repository_id, hub_id)
        with self._locales_lock:
            kept = self._locales.get(key)
        if kept and self._clock() < kept[0] + LOCALES_LIFE:
            return kept[1]
        asked_at = self._clock()
        locales = self._ask_allowed_locales(repository_id, hub_id)
        with self._locales_lock:
            self._locales[key] = (asked_at, locales)
        return locales

    def localization_jobs(self, item_id: str) -> list[LocalizationJob]:
        """The localization jobs that started from an item, as a hint; all pages.

        `GET /localization-jobs/search/findByRootContentItem?id={id}`. Which states end a job is
        not documented, so `localizations` decides, not this.
        """
        path = "/localization-jobs/search/findByRootContentItem"
        found = self._pages(path, "localization-jobs", id=_id(item_id))
        return [answers.localization_job(entry) for entry in found]

    def _ask_allowed_locales(
        self, repository_id: str | None, hub_id: str | None
    ) -> tuple[str, ...]:
        locales: tuple[str, ...] = ()
        if repository_id:
            path = f"/content-repositories/{_id(repository_id)}/localization-group/locales"
            try:
                locales = answers.texts_at(self._get(path), "locales")
            except (NotFound, Refused):
                if not hub_id:
                    raise
        elif not hub_id:
            raise Refused("neither the repository nor the hub of the item is known")
        return locales or (self.hub(hub_id).locales if hub_id else ())

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

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self._ask(Call("POST", path, json=body))

    def _ask(self, call: Call) -> Any:
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
        return read_json(answer, call=call, hide=token)

    def _perform(self, call: Call, token: str) -> HttpAnswer:
        return self._http.perform(replace(call, headers={"Authorization": f"Bearer {token}"}))


def _id(value: str) -> str:
    """`value` if it can only be one part of a path. Amplience's ids are UUIDs or 24 hex digits."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", value):
        raise Refused("that is no id of Amplience's: only letters, digits and dashes make one")
    return value
