"""Amplience's answers as our values: the border where its JSON is checked.

What is needed must be there; anything else may be missing, null or new.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, validate

from app.errors import Unavailable
from app.events import ContentItem
from app.schemas.fields import Moment


@dataclass(frozen=True)
class HubProperties:
    """A hub as the Management API describes it.

    `locales` are those of its settings, empty where it has none. `extra` is the whole answer.
    """

    id: str
    name: str | None = None
    label: str | None = None
    status: str | None = None
    locales: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class LocalizationJob:
    """One asynchronous creation of variants; it has no id.

    The only `status` that is documented is IN_PROGRESS, so it is a hint and no proof.
    """

    status: str | None = None
    requested_locales: tuple[str, ...] = ()
    created: datetime | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class ContentRepository:
    """A content repository; `features` holds `slots` where it is one for slots.

    `locales` are its own: those that its items can be localized to are those of its group.
    """

    id: str
    name: str | None = None
    label: str | None = None
    status: str | None = None
    type: str | None = None
    features: tuple[str, ...] = ()
    locales: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Snapshot:
    """What was published at one moment, from one root item on."""

    id: str
    root_item_id: str | None = None
    created: datetime | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


class AnswerSchema(Schema):
    """An answer of Amplience's: fields that we do not know are left alone."""

    class Meta:
        """A new field is no fault."""

        unknown = EXCLUDE


def optional_text(key: str | None = None) -> fields.String:
    """A text that may be missing or null."""
    return fields.String(data_key=key, load_default=None, allow_none=True)


def optional_date(key: str) -> Moment:
    """A time that may be missing, null or unreadable; one without a zone is UTC."""
    return Moment(data_key=key)


def required_id() -> fields.String:
    """An id, without which an answer is of no use."""
    return fields.String(required=True, validate=validate.Length(min=1))


class _ContentItemAnswer(AnswerSchema):
    id = required_id()
    version = fields.Integer(required=True, strict=True)
    label = optional_text()
    locale = optional_text()
    status = optional_text()
    repository_id = optional_text("contentRepositoryId")
    publishing_status = optional_text("publishingStatus")
    last_modified = optional_date("lastModifiedDate")
    last_published = optional_date("lastPublishedDate")
    last_unpublished = optional_date("lastUnpublishedDate")
    # Only in the results of a facet search, which carry no body.
    schema = optional_text()
    delivery_key = optional_text("deliveryKey")
    body = fields.Dict(load_default=None, allow_none=True)

    @post_load(pass_original=True)
    def _value(
        self, loaded: dict[str, Any], original: Mapping[str, Any], **_: object
    ) -> ContentItem:
        body = loaded.pop("body") or {}
        meta = body.get("_meta")
        meta = meta if isinstance(meta, dict) else {}
        in_body = meta.get("schema")
        loaded["schema"] = in_body if isinstance(in_body, str) else loaded["schema"]
        loaded["delivery_key"] = _delivery_key(meta) or loaded["delivery_key"]
        return ContentItem(body=body, extra=original, **loaded)


class _FoundItemAnswer(_ContentItemAnswer):
    # A search gives items in part; what is changed is read again first.
    version = fields.Integer(load_default=0, strict=True)


class _HubAnswer(AnswerSchema):
    id = required_id()
    name = optional_text()
    label = optional_text()
    status = optional_text()

    @post_load(pass_original=True)
    def _value(
        self, loaded: dict[str, Any], original: Mapping[str, Any], **_: object
    ) -> HubProperties:
        return HubProperties(
            locales=texts_at(original, "settings", "localization", "locales"),
            extra=original,
            **loaded,
        )


class _LocalizationJobAnswer(AnswerSchema):
    status = optional_text()
    created = optional_date("createdDate")

    @post_load(pass_original=True)
    def _value(
        self, loaded: dict[str, Any], original: Mapping[str, Any], **_: object
    ) -> LocalizationJob:
        return LocalizationJob(
            requested_locales=texts_at(original, "requestedLocales"), extra=original, **loaded
        )


class _ContentRepositoryAnswer(AnswerSchema):
    id = required_id()
    name = optional_text()
    label = optional_text()
    status = optional_text()
    type = optional_text()

    @post_load(pass_original=True)
    def _value(
        self, loaded: dict[str, Any], original: Mapping[str, Any], **_: object
    ) -> ContentRepository:
        return ContentRepository(
            features=texts_at(original, "features"),
            locales=texts_at(original, "itemLocales"),
            extra=original,
            **loaded,
        )


class _SnapshotAnswer(AnswerSchema):
    id = required_id()
    created = optional_date("createdDate")

    @post_load(pass_original=True)
    def _value(self, loaded: dict[str, Any], original: Mapping[str, Any], **_: object) -> Snapshot:
        root = value_at(original, "rootContentItem", "id")
        root_item_id = root if isinstance(root, str) and root else None
        return Snapshot(root_item_id=root_item_id, extra=original, **loaded)


_CONTENT_ITEM = _ContentItemAnswer()
_FOUND_ITEM = _FoundItemAnswer()
_REPOSITORY = _ContentRepositoryAnswer()
_SNAPSHOT = _SnapshotAnswer()
_HUB = _HubAnswer()
_LOCALIZATION_JOB = _LocalizationJobAnswer()


def content_item(answer: Any) -> ContentItem:
    """A content item; Unavailable where `answer` has no id or version."""
    return cast(ContentItem, loaded_value(_CONTENT_ITEM, answer, what="content item"))


def found_item(answer: Any) -> ContentItem:
    """An item as a search finds it, with a version of 0 where it names none."""
    return cast(ContentItem, loaded_value(_FOUND_ITEM, answer, what="content item"))


def content_repository(answer: Any) -> ContentRepository:
    """A content repository; Unavailable where `answer` has no id."""
    return cast(ContentRepository, loaded_value(_REPOSITORY, answer, what="content repository"))


def snapshot(answer: Any) -> Snapshot:
    """A snapshot; Unavailable where `answer` has no id."""
    return cast(Snapshot, loaded_value(_SNAPSHOT, answer, what="snapshot"))


def hub_properties(answer: Any) -> HubProperties:
    """A hub; Unavailable where `answer` has no id."""
    return cast(HubProperties, loaded_value(_HUB, answer, what="hub"))


def localization_job(answer: Any) -> LocalizationJob:
    """A localization job; Unavailable where `answer` is no object."""
    return cast(LocalizationJob, loaded_value(_LOCALIZATION_JOB, answer, what="localization job"))


def embedded(answer: Any, rel: str) -> list[Any]:
    """The entries of a HAL collection. An empty one may lack the rel and `_embedded` itself."""
    found = value_at(answer, "_embedded", rel)
    return found if isinstance(found, list) else []


def total_pages(answer: Any) -> int | None:
    """How many pages a collection has, or None where it does not say."""
    found = value_at(answer, "page", "totalPages")
    return found if isinstance(found, int) else None


def texts_at(answer: Any, *keys: str) -> tuple[str, ...]:
    """The texts of a list that lies under `keys`; empty where there is none."""
    found = value_at(answer, *keys)
    return tuple(text for text in found if isinstance(text, str)) if isinstance(found, list) else ()


def value_at(answer: Any, *keys: str) -> Any:
    """What lies under `keys` in objects within objects, or None."""
    for key in keys:
        answer = answer.get(key) if isinstance(answer, dict) else None
    return answer


def loaded_value(schema: Schema, answer: Any, *, what: str) -> object:
    """The value that `schema` makes of an answer; Unavailable where it is no `what`."""
    try:
        return schema.load(answer)
    except ValidationError as problem:
        # Passing by nature: a gateway's page, or a form that a newer release here will know.
        raise Unavailable(f"the answer is no {what}: {problem.messages}", maybe_done=True) from None


def _delivery_key(meta: Mapping[str, Any]) -> str | None:
    """The delivery key in a body's `_meta`, or the first of several."""
    one = meta.get("deliveryKey")
    several = value_at(meta, "deliveryKeys", "values")
    several = several if isinstance(several, list) else []
    keys = [one, *(value_at(entry, "value") for entry in several)]
    return next((key for key in keys if isinstance(key, str) and key), None)
