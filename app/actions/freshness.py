"""Is this pulled content that version of the item? The comparison, and nothing else. Pure.

Content Delivery 2 says nowhere which version it gives, so what it gives is compared with the body
of a content item as the Management API has it. Only the item itself can be compared: the items that
it links to stand in the body as links, and here a link and the item in its place are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.events import ContentItem

_CONTENT_LINK = "/definitions/content-link"
_LOCALIZED = "/definitions/localized-"
_MEDIA = ("/definitions/image-link", "/definitions/video-link")
# What delivery adds to an item, or keeps by its own rules: an item that moves in its hierarchy, or
# whose edition is prolonged, is no other version.
_OF_DELIVERY = frozenset({"deliveryId", "edition", "lifecycle", "hierarchy"})


def is_version(
    content: Mapping[str, Any],
    item: ContentItem,
    *,
    locale: str | None = None,
    any_media_host: bool = False,
) -> bool:
    """Tell whether `content` is what Content Delivery 2 makes of this version of `item`.

    `locale` is the list that the content was asked for with, None for all locales. Staging
    environments write their own host into media: `any_media_host` takes any. The order of
    properties does not count, nor whether a property is null or missing. Of the item's own `_meta`
    only what both sides have counts: a delivery key may be on one side alone.
    """
    body = in_locale(item.body, locale)
    own, theirs = _meta(body), _meta(content)
    if theirs.get("deliveryId") not in (None, item.id):
        return False
    for name in (own.keys() & theirs.keys()) - _OF_DELIVERY:
        if None not in (own[name], theirs[name]) and not _same(own[name], theirs[name]):
            return False
    return all(
        _same(body.get(name), content.get(name), any_media_host=any_media_host)
        for name in (body.keys() | content.keys()) - {"_meta"}
    )


def in_locale(body: Mapping[str, Any], locale: str | None) -> Mapping[str, Any]:
    """Choose one value of each localized property, as Content Delivery 2 does for `locale`.

    The list is tried from left to right for each property by itself: `fr-FR` is that locale, `fr-*`
    the first one of the language, `*` the first one that has a value. Where none fits, the property
    is null (https://amplience.com/developers/docs/apis/content-delivery/).
    """
    if locale is None:
        return body
    wanted = locale.split(",")
    return {name: _localized(value, wanted) for name, value in body.items()}


def _localized(value: Any, wanted: Sequence[str]) -> Any:
    if isinstance(value, list):
        return [_localized(entry, wanted) for entry in value]
    if not isinstance(value, Mapping):
        return value
    values = value.get("values")
    if _LOCALIZED in _schema(value) and isinstance(values, list):
        return _localized(_choice(values, wanted), wanted)
    return {name: _localized(part, wanted) for name, part in value.items()}


def _choice(values: Sequence[Any], wanted: Sequence[str]) -> Any:
    given = [entry for entry in values if isinstance(entry, Mapping)]
    for pattern in wanted:
        for entry in given:
            value = entry.get("value")
            if value is not None and _fits(str(entry.get("locale")), pattern):
                return value
    return None


def _fits(locale: str, pattern: str) -> bool:
    if pattern.endswith("-*"):
        return locale.partition("-")[0] == pattern[:-2]
    return pattern in ("*", locale)


def _same(left: Any, right: Any, *, any_media_host: bool = False) -> bool:
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return _same_object(left, right, any_media_host=any_media_host)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(
            _same(*pair, any_media_host=any_media_host) for pair in zip(left, right, strict=True)
        )
    # Equality as JSON has it: for Python, true is 1.
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _same_object(
    left: Mapping[str, Any], right: Mapping[str, Any], *, any_media_host: bool
) -> bool:
    linked = _linked_item(left), _linked_item(right)
    if linked != (None, None):
        return linked[0] == linked[1]
    names = left.keys() | right.keys()
    if any_media_host and _schema(left).endswith(_MEDIA):
        names -= {"defaultHost"}
    return all(
        _same(left.get(name), right.get(name), any_media_host=any_media_host) for name in names
    )


def _linked_item(value: Mapping[str, Any]) -> str | None:
    """The id of the item that a content link, or the item in its place, stands for."""
    link = value.get("id") if _schema(value).endswith(_CONTENT_LINK) else None
    found = _meta(value).get("deliveryId") or link
    return found if isinstance(found, str) else None


def _meta(value: Mapping[str, Any]) -> Mapping[str, Any]:
    meta = value.get("_meta")
    return meta if isinstance(meta, Mapping) else {}


def _schema(value: Mapping[str, Any]) -> str:
    schema = _meta(value).get("schema")
    return schema if isinstance(schema, str) else ""
