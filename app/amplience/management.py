"""The Management API's verbs that this service uses, under the names that Amplience gives them.

Those about hubs, repositories and content items are here; searching, publishing and webhooks have
modules of their own and are joined in `ManagementClient`. None knows why it is called.

Every verb raises Unauthorized (also for a missing permission: both are 403), RateLimited,
Unavailable or Refused; NotFound and VersionConflict where the verb says so. The verbs are those of
https://amplience.com/developers/docs/apis/content-management-reference/ as the official SDK
(https://github.com/amplience/dc-management-sdk-js) calls them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from typing import Any

from app.amplience import answers
from app.amplience.answers import ContentRepository, HubProperties, LocalizationJob, Snapshot
from app.amplience.auth import Tokens
from app.amplience.facets import FacetVerbs
from app.amplience.management_http import path_id
from app.amplience.publishing import PublishingVerbs
from app.amplience.webhooks import WebhookVerbs
from app.config import AmplienceHosts, ClientCredentials, PersonalAccessToken
from app.errors import NotFound, Refused
from app.events import ContentItem

LOCALES_LIFE = 300.0


class ManagementClient(FacetVerbs, PublishingVerbs, WebhookVerbs):
    """The Management API for one set of credentials, safe to share between threads."""

    def __init__(
        self,
        *,
        credentials: ClientCredentials | PersonalAccessToken,
        hosts: AmplienceHosts | None = None,
        tokens: Tokens | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(credentials=credentials, hosts=hosts, tokens=tokens, clock=clock)
        self._locales: dict[tuple[str | None, str | None], tuple[float, tuple[str, ...]]] = {}
        self._locales_lock = Lock()

    def hubs(self) -> list[HubProperties]:
        """Every hub that the credentials may see: `GET /hubs`, all pages."""
        return [answers.hub_properties(entry) for entry in self._pages("/hubs", "hubs")]

    def hub(self, hub_id: str) -> HubProperties:
        """One hub: `GET /hubs/{id}`. NotFound where there is none."""
        return answers.hub_properties(self._get(f"/hubs/{path_id(hub_id)}"))

    def content_repositories(self, hub_id: str) -> list[ContentRepository]:
        """The repositories of a hub: `GET /hubs/{id}/content-repositories`, all pages.

        NotFound where there is no such hub.
        """
        path = f"/hubs/{path_id(hub_id)}/content-repositories"
        found = self._pages(path, "content-repositories")
        return [answers.content_repository(entry) for entry in found]

    def content_items(
        self, repository_id: str, *, status: str | None = None
    ) -> Iterator[ContentItem]:
        """The items of a repository, page by page as they are asked for, without their bodies.

        `GET /content-repositories/{id}/content-items`. `status` is ACTIVE, ARCHIVED or DELETED;
        None asks for what Amplience gives by itself. Without a body there is no schema and no
        delivery key: read the item with `content_item`. An item that comes or goes meanwhile may
        be missed or be seen twice. NotFound, at the first item, where there is no such repository.
        """
        path = f"/content-repositories/{path_id(repository_id)}/content-items"
        # Pages with bodies can be too big to be answered.
        query = {"projection": "basic"} | ({"status": status} if status else {})
        for entry in self._pages(path, "content-items", **query):
            yield answers.content_item(entry)

    def snapshot(self, snapshot_id: str) -> Snapshot:
        """What was published together: `GET /snapshots/{id}`. NotFound where there is none."""
        return answers.snapshot(self._get(f"/snapshots/{path_id(snapshot_id)}"))

    def snapshot_item(self, snapshot_id: str, item_id: str) -> ContentItem:
        """The item as that snapshot published it: `GET /snapshots/{id}/content-items/{item}`.

        The body is the published one, with links as links; other fields may be of today. NotFound
        where there is no such snapshot, or the item is not in it.
        """
        path = f"/snapshots/{path_id(snapshot_id)}/content-items/{path_id(item_id)}"
        return answers.content_item(self._get(path))

    def archive(self, item_id: str, *, version: int) -> ContentItem:
        """Archive an item, and return it: `POST /content-items/{id}/archive {version}`.

        It stays published: `unpublish` first. VersionConflict for an old version, Refused where it
        is archived already.
        """
        path = f"/content-items/{path_id(item_id)}/archive"
        return answers.content_item(self._post(path, {"version": version}))

    def unarchive(self, item_id: str, *, version: int) -> ContentItem:
        """Bring an item back, and return it: `POST /content-items/{id}/unarchive {version}`.

        Its delivery key is given to it again, and Refused when another item has it meanwhile
        (https://github.com/amplience/dc-cli, issue #173). VersionConflict for an old version.
        """
        path = f"/content-items/{path_id(item_id)}/unarchive"
        return answers.content_item(self._post(path, {"version": version}))

    def content_item(self, item_id: str) -> ContentItem:
        """The content item as it is now: `GET /content-items/{id}`.

        Raises NotFound where there is none, and for a moment after it was created
        (https://github.com/amplience/dc-cli/pull/206).
        """
        return answers.content_item(self._get(f"/content-items/{path_id(item_id)}"))

    def localizations(self, item_id: str) -> list[ContentItem]:
        """The variants of an item: `GET /content-items/{id}/localizations`, all pages.

        Whether the item itself and archived variants are among them is not documented: look at
        each one's `id`, `locale` and `status`. A variant that was made a moment ago may not be
        there yet. NotFound where there is no such item.
        """
        path = f"/content-items/{path_id(item_id)}/localizations"
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
        self._post(f"/content-items/{path_id(item_id)}/localize", body)

    def set_locale(self, item_id: str, *, version: int, locale: str) -> ContentItem:
        """Give an item that has no locale its first one, and return it with its new version.

        `POST /content-items/{id}/locale {locale, version}`. A locale can never be changed
        (LOCALE_IMMUTABLE, a Refused); VersionConflict for an old version.
        """
        path = f"/content-items/{path_id(item_id)}/locale"
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
        found = self._pages(path, "localization-jobs", id=path_id(item_id))
        return [answers.localization_job(entry) for entry in found]

    def _ask_allowed_locales(
        self, repository_id: str | None, hub_id: str | None
    ) -> tuple[str, ...]:
        locales: tuple[str, ...] = ()
        if repository_id:
            path = f"/content-repositories/{path_id(repository_id)}/localization-group/locales"
            try:
                locales = answers.texts_at(self._get(path), "locales")
            except (NotFound, Refused):
                if not hub_id:
                    raise
        elif not hub_id:
            raise Refused("neither the repository nor the hub of the item is known")
        return locales or (self.hub(hub_id).locales if hub_id else ())
