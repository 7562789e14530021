"""The arguments of the API, by schema: loaded, they are the ledger's own filters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from app.queue.filters import STATES, EventFilter, JobFilter
from app.queue.operator import LONGEST_PAUSE_REASON
from app.queue.pagination import DEFAULT_LIMIT, LONGEST_PAGE
from app.web.api.fields import Number, When, Words

_PAGING = ("limit", "cursor", "dry_run")


Filter = TypeVar("Filter", EventFilter, JobFilter)


@dataclass(frozen=True)
class Asked(Generic[Filter]):
    """A filter, and which page of what it finds. `dry_run` only for what changes something."""

    filter: Filter
    limit: int
    cursor: str | None
    dry_run: bool = True


def _about(text: str) -> dict[str, Any]:
    return {"description": text}


class _Paged(Schema):
    limit = Number(most=LONGEST_PAGE, load_default=DEFAULT_LIMIT)
    cursor = Words(metadata=_about("`next` of the page before."))

    @staticmethod
    def _split(loaded: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        paging = {name: loaded.pop(name) for name in _PAGING if name in loaded}
        return loaded, {"cursor": None, **paging}


class EventsAsked(_Paged):
    """Which events."""

    event_id = Words(metadata=_about("Amplience's id of the event."))
    item_id = Words()
    label = Words(metadata=_about("A part of the label."))
    schema = Words(longest=2000, metadata=_about("A part of the content type's URI."))
    name = Words(metadata=_about("The whole name, such as `dynamic-content.snapshot.published`."))
    hub = Words()
    origin = Words()
    state = fields.String(
        validate=validate.OneOf(STATES), metadata=_about("It has a job in this state.")
    )
    target = Words(metadata=_about("It has a job for this destination, or this hub."))
    received_from = When()
    received_to = When(metadata=_about("This moment is not included."))

    @post_load
    def _made(self, loaded: dict[str, Any], **_: Any) -> Asked[EventFilter]:
        wanted, paging = self._split(loaded)
        return Asked(EventFilter(**wanted), **paging)


class JobsAsked(_Paged):
    """Which jobs."""

    state = fields.String(validate=validate.OneOf(STATES))
    action = Words()
    target = Words(metadata=_about("A destination's name, or a hub's key."))
    reason = Words()
    rule = Words()
    hub = Words()
    event = Number(metadata=_about("The ledger's number of the event."))
    item_id = Words()

    @post_load
    def _made(self, loaded: dict[str, Any], **_: Any) -> Asked[JobFilter]:
        wanted, paging = self._split(loaded)
        return Asked(JobFilter(**wanted), **paging)


_DRY_RUN = _about("Only count. It is what happens unless you say false.")


def _refuse_open(loaded: dict[str, Any]) -> None:
    if not set(loaded) - set(_PAGING):
        raise ValidationError("Name at least one thing to look for.")


class EventsToReplay(EventsAsked):
    """Which events to replay; at least one condition."""

    dry_run = fields.Boolean(load_default=True, metadata=_DRY_RUN, truthy={True}, falsy={False})

    @validates_schema
    def _narrow(self, loaded: dict[str, Any], **_: Any) -> None:
        _refuse_open(loaded)


class JobsToRetry(JobsAsked):
    """Which jobs to retry; the state says which kind."""

    state = fields.String(required=True, validate=validate.OneOf(("dead", "cancelled", "waiting")))
    dry_run = fields.Boolean(load_default=True, metadata=_DRY_RUN, truthy={True}, falsy={False})


class PauseAsked(Schema):
    """Why a destination is paused."""

    reason = Words(
        longest=LONGEST_PAUSE_REASON,
        load_default="by-hand",
        metadata=_about("For the next person who looks."),
    )
