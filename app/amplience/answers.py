"""Amplience's answers as our values: the border where its JSON is checked.

What is needed must be there; anything else may be missing, null or new. This module must not know
which call brought an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, validate

from app.errors import Unavailable
from app.events import ContentItem


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


class _Answer(Schema):
    class Meta:
        unknown = EXCLUDE


def _optional_text(key: str | None = None) -> fields.String:
    return fields.String(data_key=key, load_default=None, allow_none=True)


def _optional_date(key: str) -> fields.AwareDateTime:
    return fields.AwareDateTime(
        data_key=key, format="iso", default_timezone=UTC, load_default=None, allow_none=True
    )


def _id() -> fields.String:
    return fields.String(required=True, validate=validate.Length(min=1))


class _ContentItemAnswer(_Answer):
    id = _id()
    version = fields.Integer(required=True, strict=True)
    label = _optional_text()
    locale = _optional_text()
    status = _optional_text()
    repository_id = _optional_text("contentRepositoryId")
    publishing_status = _optional_text("publishingStatus")
    last_modified = _optional_date("lastModifiedDate")
    # Only in the results of a facet search, which carry no body.
    schema = _optional_text()
    delivery_key = _optional_text("deliveryKey")
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


class _HubAnswer(_Answer):
    id = _id()
    name = _optional_text()
    label = _optional_text()
    status = _optional_text()

    @post_load(pass_original=True)
    def _value(
        self, loaded: dict[str, Any], original: Mapping[str, Any], **_: object
    ) -> HubProperties:
        return HubProperties(
            locales=texts_at(original, "settings", "localization", "locales"),
            extra=original,
            **loaded,
        )


class _LocalizationJobAnswer(_Answer):
    status = _optional_text()
    created = _optional_date("createdDate")

    @post_load(pass_original=True)
    def _value(
        self, loaded: dict[str, Any], original: Mapping[str, Any], **_: object
    ) -> LocalizationJob:
        return LocalizationJob(
            requested_locales=texts_at(original, "requestedLocales"), extra=original, **loaded
        )


_CONTENT_ITEM = _ContentItemAnswer()
_HUB = _HubAnswer()
_LOCALIZATION_JOB = _LocalizationJobAnswer()


def content_item(answer: Any) -> ContentItem:
    """A content item; Unavailable where `answer` has no id or version."""
    return cast(ContentItem, _load(_CONTENT_ITEM, answer, what="content item"))


def hub_properties(answer: Any) -> HubProperties:
    """A hub; Unavailable where `answer` has no id."""
    return cast(HubProperties, _load(_HUB, answer, what="hub"))


def localization_job(answer: Any) -> LocalizationJob:
    """A localization job; Unavailable where `answer` is no object."""
    return cast(LocalizationJob, _load(_LOCALIZATION_JOB, answer, what="localization job"))


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


def _load(schema: Schema, answer: Any, *, what: str) -> object:
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
