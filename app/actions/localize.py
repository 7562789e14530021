"""Localize: create the locale variants of a content item that are missing.

The item is read again, because a webhook tells what was, not what is. What is missing is worked out
from Amplience's own list of variants each time, so that running twice changes nothing, and a
variant's own `created` webhook ends in a skip: this must never loop.

Rules: https://amplience.com/docs/development/api-examples/localization/create-localizations.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from app.actions.attempt import Attempt
from app.actions.confirmation import ConfirmationTiming, not_there
from app.errors import AmplienceError, NotFound, Refused, VersionConflict
from app.events import ContentItem
from app.retry import Failed, LookAgain, Outcome, Skipped, Succeeded

ALL_LOCALES = ("*",)
# Rounds of read and ask within one attempt, for an editor who saves at the same moment.
_ROUNDS = 4


class LocalizingClient(Protocol):
    """What this action needs of the Management API."""

    def content_item(self, item_id: str) -> ContentItem: ...  # noqa: D102 - as ManagementClient

    def localizations(self, item_id: str) -> Sequence[ContentItem]: ...  # noqa: D102

    def allowed_locales(  # noqa: D102
        self, repository_id: str | None, hub_id: str | None = None
    ) -> Sequence[str]: ...

    def set_locale(self, item_id: str, *, version: int, locale: str) -> ContentItem: ...  # noqa: D102

    def localize(  # noqa: D102
        self,
        item_id: str,
        *,
        version: int,
        locales: Sequence[str],
        replicate_folder_structure: bool = False,
    ) -> None: ...


@dataclass(frozen=True)
class _Hub:
    client: LocalizingClient
    hub_id: str | None


@dataclass(frozen=True)
class Targets:
    """Which locales are to be requested, and why not the others."""

    missing: tuple[str, ...]
    present: tuple[str, ...]
    not_allowed: tuple[str, ...]


def choose_targets(
    *, wanted: Sequence[str], allowed: Sequence[str], own: str | None, variants: Sequence[str]
) -> Targets:
    """Work out the targets: wanted and allowed, not there yet, and not the item's own locale."""
    chosen = tuple(allowed) if tuple(wanted) == ALL_LOCALES else tuple(wanted)
    others = [locale for locale in dict.fromkeys(chosen) if locale != own]
    return Targets(
        missing=tuple(n for n in others if n in allowed and n not in variants),
        present=tuple(n for n in others if n in variants),
        not_allowed=tuple(n for n in others if n not in allowed and n not in variants),
    )


def why_not(
    item: ContentItem, variants: Sequence[ContentItem], *, source_locale: str, may_set: bool
) -> str | None:
    """Say why an item is not to be localized, as a slug; None when it is."""
    if item.status not in (None, "ACTIVE"):
        return "not-active"
    if item.locale is None:
        return None if may_set else "no-locale"
    if item.locale != source_locale:
        return "not-in-source-locale"
    if _is_variant(item, variants):
        return "is-a-variant"
    return None


def _is_variant(item: ContentItem, variants: Sequence[ContentItem]) -> bool:
    """Tell whether the item was made from another one of its group.

    No field says so. Only the source can be older than all others, and no two items of a group
    have one locale.
    """
    born = str(item.extra.get("createdDate") or "")
    for other in variants:
        if other.id == item.id:
            continue
        older = str(other.extra.get("createdDate") or "")
        if other.locale == item.locale or (born and older and older < born):
            return True
    return False


class Localize:
    """The action `localize`, for all hubs; `clients` and `hub_ids` are by our hub keys."""

    def __init__(
        self,
        *,
        clients: Mapping[str, LocalizingClient],
        hub_ids: Mapping[str, str | None],
        clock: Callable[[], float],
        timing: ConfirmationTiming | None = None,
    ) -> None:
        self._clients = clients
        self._hub_ids = hub_ids
        self._clock = clock
        self._timing = timing or ConfirmationTiming()

    def run(self, attempt: Attempt) -> Outcome:
        """Request what is missing, or look whether what was requested is there."""
        client = self._clients.get(attempt.job.hub)
        if client is None:
            return Failed(
                "unknown-hub", f"hub {attempt.job.hub!r} has no credentials", transient=False
            )
        hub = _Hub(client, self._hub_ids.get(attempt.job.hub))
        try:
            return self._rounds(attempt, hub)
        except NotFound as error:
            return not_there(attempt.job, error, timing=self._timing, now=self._clock())

    def _rounds(self, attempt: Attempt, hub: _Hub) -> Outcome:
        refused: Refused | VersionConflict | None = None
        for _ in range(_ROUNDS):
            try:
                return self._round(attempt, hub)
            except VersionConflict as error:
                refused = error
            except Refused as error:
                # Somebody may have made a variant between our read and our request: look once more.
                if isinstance(refused, Refused):
                    raise
                refused = error
        return Failed("version-conflict", str(refused), transient=True)

    def _round(self, attempt: Attempt, hub: _Hub) -> Outcome:
        args = attempt.job.args
        item = hub.client.content_item(args["item_id"])
        variants = hub.client.localizations(item.id)
        reason = why_not(
            item,
            variants,
            source_locale=args["source_locale"],
            may_set=bool(args.get("set_missing_locale")),
        )
        if reason:
            return Skipped(reason, {"locale": item.locale, "status": item.status})
        allowed = hub.client.allowed_locales(item.repository_id, hub.hub_id)
        targets = choose_targets(
            wanted=args["locales"],
            allowed=allowed,
            own=item.locale or args["source_locale"],
            variants=[v.locale for v in variants if v.locale and v.id != item.id],
        )
        if not targets.missing:
            return self._nothing_missing(targets, variants)
        return self._request_or_wait(attempt, hub, item, targets)

    @staticmethod
    def _nothing_missing(targets: Targets, variants: Sequence[ContentItem]) -> Outcome:
        detail = {
            "variants": {v.locale: v.id for v in variants if v.locale in targets.present},
            "not_allowed": list(targets.not_allowed),
        }
        if targets.not_allowed and not targets.present:
            return Skipped("locales-not-allowed", detail)
        return Succeeded(detail)

    def _request_or_wait(
        self, attempt: Attempt, hub: _Hub, item: ContentItem, targets: Targets
    ) -> Outcome:
        progress = attempt.job.progress
        asked_at = progress.get("asked_at")
        asked = set(progress.get("asked", ()))
        if asked_at is not None and asked >= set(targets.missing):
            age = self._clock() - float(asked_at)
            if age > self._timing.confirm_within:
                missing = ", ".join(targets.missing)
                return Failed("unconfirmed", f"requested, but not seen: {missing}", transient=False)
            if progress.get("sure") or age < self._timing.repeat_after:
                return self._look_later(progress, targets)
        return self._request(attempt, hub, item, targets)

    def _request(self, attempt: Attempt, hub: _Hub, item: ContentItem, targets: Targets) -> Outcome:
        args = attempt.job.args
        version = item.version
        if item.locale is None:
            attempt.hold()
            source = args["source_locale"]
            version = hub.client.set_locale(item.id, version=version, locale=source).version
        # Written before the call: an attempt that dies within it is not followed by a second
        # request before the first had its time to show.
        progress = {
            "asked": list(targets.missing),
            "asked_at": self._clock(),
            "sure": False,
            "looks": 0,
        }
        attempt.hold(progress=progress)
        try:
            hub.client.localize(
                item.id,
                version=version,
                locales=targets.missing,
                replicate_folder_structure=bool(args.get("replicate_folder_structure")),
            )
        except (VersionConflict, Refused):
            attempt.hold(progress={})
            raise
        except AmplienceError as error:
            if not error.maybe_done:
                attempt.hold(progress={})
                raise
            return self._look_later(progress, targets, message=str(error))
        return self._look_later({**progress, "sure": True}, targets)

    def _look_later(
        self, progress: Mapping[str, Any], targets: Targets, *, message: str | None = None
    ) -> Outcome:
        looks = int(progress.get("looks", 0))
        detail: dict[str, Any] = {"missing": list(targets.missing)}
        if message:
            detail["answer"] = message
        return LookAgain(
            "awaiting-variants" if progress.get("sure") else "request-unknown",
            after=self._timing.pause(looks),
            progress={**progress, "looks": looks + 1},
            detail=detail,
        )
