"""The kinds of value that a setting can have, as marshmallow fields.

No message repeats the value it refuses: it may be a secret. This module must not know which setting
is of which kind.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

import jsonpath_rfc9535
from marshmallow import ValidationError, fields, validate

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*(ms|s|m|h|d)", re.ASCII)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
# Amplience: a language code, then optionally a country code (`en`, `en-GB`); compared exactly.
_LOCALE = r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*"
_LOCALE_EXPRESSION = re.compile(rf"\*|{_LOCALE}(?:-\*)?")
# RFC 9110, section 5.6.2: a header's name is a token.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OURS = frozenset({"webhook-id", "webhook-timestamp", "webhook-signature"})
_TRANSPORT = frozenset({"connection", "content-length", "transfer-encoding"})

URL_ADVICE = "Write a whole URL, such as https://search.example/items."


class Text(fields.String):
    """A text that is not empty and holds no line breaks or other control characters."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        text = super()._deserialize(value, attr, data, **kwargs).strip()
        if not text:
            raise ValidationError("This is empty.\nGive it a value or leave it out.")
        if _UNPRINTABLE.search(text):
            raise ValidationError("There is a control character in it.\nWrite it on one line.")
        return text


class Name(Text):
    """A short name of our own that is also used in URLs and metric labels."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", text):
            raise ValidationError(
                "This name cannot be used.\n"
                "Use up to 64 letters, digits, hyphens and underscores, a letter or digit first."
            )
        return text


class HubName(Text):
    """Amplience's name for a hub; it becomes part of a host."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?", text):
            raise ValidationError(
                "This is not the name of a hub.\n"
                "Write the name as your content's host has it: the part before .cdn.content."
            )
        return text


class HttpUrl(Text):
    """An absolute http or https URL.

    With `base` paths are appended to it, so it has no query or fragment and loses its last slash.
    """

    def __init__(self, *, base: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.base = base

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        url = super()._deserialize(value, attr, data, **kwargs)
        if "{{" in url:
            raise ValidationError(
                "A template in a URL is not supported by this version.\n"
                "Write the URL without {{ … }}."
            )
        parts = _split(url)
        if self.base and (parts.query or parts.fragment):
            raise ValidationError(
                "Paths are appended to this URL, so it can have no query and no fragment.\n"
                "Leave out what follows ? or #."
            )
        return url.rstrip("/") if self.base else url


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        reachable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        reachable = None
    if not reachable or re.search(r"\s", url):
        raise ValidationError(f"This is not an http or https URL.\n{URL_ADVICE}")
    return parts


class DatabaseUrl(Text):
    """`sqlite:///path` or `postgresql://…`; loads the form that SQLAlchemy wants."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        url = super()._deserialize(value, attr, data, **kwargs)
        scheme, separator, rest = url.partition("://")
        if separator and scheme in {"postgres", "postgresql", "postgresql+psycopg"}:
            _check_port(url)
            return f"postgresql+psycopg://{rest}"
        if scheme == "sqlite" and rest.startswith("/"):
            if rest == "/" or ":memory:" in rest:
                raise ValidationError(
                    "A database in memory loses every event when it stops.\n"
                    "Write sqlite:/// and a file's path, such as sqlite:///var/dc-relay.db."
                )
            return url
        raise ValidationError(
            "This is not a database that the service can use.\n"
            "Write sqlite:///var/dc-relay.db or postgresql://user:password@host:5432/name."
        )


def _check_port(url: str) -> None:
    try:
        _ = urlsplit(url).port
    except ValueError:
        raise ValidationError(
            "The host or port of this URL cannot be read.\n"
            "Write postgresql://user:password@host:5432/name; "
            "in the password write / as %2F, @ as %40, : as %3A, # as %23."
        ) from None


class Duration(fields.Field[float]):
    """`500ms`, `5s`, `30m`, `2h`, `1d`; loads seconds. Positive, and at most `longest` seconds."""

    def __init__(self, *, longest: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.longest = longest

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> float:
        written = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
        if written is None:
            raise ValidationError(
                "This is not a duration.\n"
                'Write a number and ms, s, m, h or d: "500ms", "5s", "30m", "2h".'
            )
        seconds = float(written[1]) * _UNITS[written[2]]
        if not 0 < seconds <= self.longest:
            raise ValidationError(
                f"This duration is out of range.\nIt must be above 0 and at most {self.longest:g}s."
            )
        return seconds


class Locale(Text):
    """A locale of an item, `en` or `en-GB`; with `any_locale` also `*`."""

    def __init__(self, *, any_locale: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.any_locale = any_locale

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if self.any_locale and text == "*":
            return text
        if not re.fullmatch(_LOCALE, text):
            raise ValidationError(
                "This is not a locale.\n"
                "Write a language and, with a hyphen, a country: en or en-GB, as in your hub."
            )
        return text


class LocaleExpression(Text):
    """What Content Delivery 2 takes as `locale`: `fr-FR,fr-*,*`, the first that has a value wins.

    https://amplience.com/developers/docs/apis/content-delivery/content-delivery-2/localized-content
    """

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        choices = [choice.strip() for choice in text.split(",")]
        if not all(_LOCALE_EXPRESSION.fullmatch(choice) for choice in choices):
            raise ValidationError(
                "Content Delivery 2 does not take this as a locale.\n"
                'Write locales separated by commas, with * as in "fr-FR,fr-*,*".'
            )
        return ",".join(choices)


class JsonPath(Text):
    """A JSONPath as in RFC 9535, kept as text."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        try:
            jsonpath_rfc9535.compile(text)
        except jsonpath_rfc9535.JSONPathError as error:
            # The library's own message quotes the path; only the position is taken over.
            at = f" at character {error.token.index + 1}" if error.token else ""
            raise ValidationError(
                f"This is not a JSONPath (RFC 9535): there is a fault{at}.\n"
                "Start at the envelope: $.payload.body.region."
            ) from None
        return text


class SigningSecret(Text):
    """A Standard Webhooks secret: `whsec_` and 24 to 64 bytes in base64.

    https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    """

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        prefix, _, encoded = text.partition("_")
        try:
            size = len(base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True))
        except (binascii.Error, ValueError):
            size = 0
        if prefix != "whsec" or not 24 <= size <= 64:
            raise ValidationError(
                "This is not a Standard Webhooks secret.\n"
                "Write whsec_ and 24 to 64 random bytes in base64: "
                'make one with echo "whsec_$(openssl rand -base64 32)".'
            )
        return text


class TextList(fields.List):
    """One text or a list of texts, each checked by `inner`; loads a tuple without repeats.

    With `commas` a text is taken apart at its commas, and blanks are dropped: so may a variable
    hold several. The faults of a single text stand at the setting, those of a list at the entry.
    """

    def __init__(self, inner: fields.Field[str], *, commas: bool = False, **kwargs: Any) -> None:
        super().__init__(
            inner,
            validate=validate.Length(min=1, error="This is empty.\nName at least one."),
            post_load=lambda entries: tuple(dict.fromkeys(entries)),
            **kwargs,
        )
        self.commas = commas

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> list[str | None]:
        if not isinstance(value, str | list):
            raise ValidationError('This is neither a text nor a list.\nWrite [ "…", "…" ].')
        try:
            return super()._deserialize(self._entries(value), attr, data, **kwargs)
        except ValidationError as error:
            if isinstance(value, str) and isinstance(error.messages, dict):
                texts = [text for below in error.messages.values() for text in below]
                raise ValidationError(list(dict.fromkeys(texts))) from None
            raise

    def _entries(self, value: str | list[Any]) -> list[Any]:
        written = [value] if isinstance(value, str) else value
        if not self.commas:
            return written
        return [entry for each in written for entry in _apart(each)]


def _apart(entry: Any) -> Iterable[Any]:
    if not isinstance(entry, str):
        return [entry]
    return [part.strip() for part in entry.split(",") if part.strip()]


def locale_list_fault(locales: Iterable[str], *, source: str | None) -> str | None:
    """What is wrong with the locales to make from an item in the locale `source`, if anything."""
    wanted = tuple(locales)
    if "*" in wanted and len(wanted) > 1:
        return "The * stands for all locales and cannot be combined.\nWrite * alone, or the locales."
    if source in wanted:
        return (
            "The source locale is one of the locales to make.\n"
            "Take it out of the list: the item is there already."
        )
    return None


class Headers(fields.Dict):
    """HTTP headers of our own, as a table; loads a tuple of names and values."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(post_load=lambda headers: tuple(headers.items()), **kwargs)

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> dict[str, str]:
        headers: dict[str, Any] = super()._deserialize(value, attr, data, **kwargs)
        # A bad name may be a secret that was put on the wrong side: it is not shown.
        if not all(_TOKEN.fullmatch(name) for name in headers):
            raise ValidationError(
                "A header's name cannot be sent.\n"
                "Use letters, digits and hyphens; the value goes after the = sign."
            )
        if len({name.lower() for name in headers}) < len(headers):
            raise ValidationError(
                "A header is there twice: upper and lower case are the same.\nKeep one of them."
            )
        faults = {name: text for name, entry in headers.items() if (text := _fault(name, entry))}
        if faults:
            raise ValidationError({name: [text] for name, text in faults.items()})
        return headers


def _fault(name: str, value: Any) -> str | None:
    if name.lower() in _OURS | _TRANSPORT:
        return "The service sets this header itself.\nLeave it out."
    if not isinstance(value, str):
        return "This is not a text.\nWrite it in quotes."
    if _UNPRINTABLE.search(value) or not _latin(value):
        return "This cannot be sent in a header.\nUse one line of Latin-1 characters."
    if value != value.strip():
        return "This begins or ends with a blank.\nLeave the blank out."
    return None


def _latin(value: str) -> bool:
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True
