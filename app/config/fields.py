"""The kinds of value that a setting can have, as marshmallow fields.

No message repeats the value it refuses: it may be a secret.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import SplitResult, urlsplit

import jsonpath_rfc9535
from marshmallow import ValidationError, fields, validate

from app.events import KNOWN_EVENT_NAMES

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)/([smh])")
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*(ms|s|m|h|d)", re.ASCII)
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
_SURROGATE = re.compile("[\ud800-\udfff]")
# Amplience: a language code, then optionally a country code (`en`, `en-GB`); compared exactly.
_LOCALE = r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*"
_LOCALE_EXPRESSION = re.compile(rf"\*|{_LOCALE}(?:-\*)?")

_URL_ADVICE = "Write a whole URL, such as https://search.example/items."


def did_you_mean(written: str, known: Iterable[str]) -> str:
    """`Did you mean "schema"?`, or all that is known when nothing is near."""
    names = sorted(known)
    near = difflib.get_close_matches(written, names, n=1)
    if near:
        return f'Did you mean "{near[0]}"?'
    return f"Known here: {', '.join(names)}." if names else "There is none yet."


class Text(fields.String):
    """A text that is not empty and holds no line breaks or other control characters.

    The kinds below also want all of it to be of a `pattern`, with a `fault` for what is not, or say
    in `_read` what else they want.
    """

    pattern: ClassVar[re.Pattern[str] | None] = None
    fault: ClassVar[str]

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs).strip()
        if not text:
            raise ValidationError("This is empty.\nGive it a value or leave it out.")
        if UNPRINTABLE.search(text):
            raise ValidationError("There is a control character in it.\nWrite it on one line.")
        # Python has half of a surrogate pair for each byte of the environment that is not UTF-8.
        if _SURROGATE.search(text):
            raise ValidationError("There are bytes in it that are not UTF-8.\nWrite it in UTF-8.")
        return self._read(text)

    def _read(self, text: str) -> Any:
        """The value that `text` stands for; raises marshmallow's `ValidationError`."""
        if self.pattern and not self.pattern.fullmatch(text):
            raise ValidationError(self.fault)
        return text


class Name(Text):
    """A short name of our own that is also used in URLs and metric labels."""

    pattern = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
    fault = (
        "This name cannot be used.\n"
        "Use up to 64 letters, digits, hyphens and underscores, a letter or digit first."
    )


class Token(Text):
    """A secret that is sent in an HTTP header: visible ASCII, of at least `shortest` characters."""

    pattern = re.compile(r"[\x21-\x7e]+")
    fault = (
        "This has characters that an HTTP header cannot carry.\n"
        "Use letters, digits and signs of ASCII, without blanks."
    )

    def __init__(self, *, shortest: int = 1, **kwargs: Any) -> None:
        text = (
            f"This is shorter than {shortest} characters, and could be guessed.\n"
            "Make one with `openssl rand -hex 32`."
        )
        super().__init__(validate=validate.Length(min=shortest, error=text), **kwargs)


class HubName(Text):
    """Amplience's name for a hub; it becomes part of a host."""

    pattern = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")
    fault = (
        "This is not the name of a hub.\n"
        "Write the name as your content's host has it: the part before .cdn.content."
    )


class HostName(Text):
    """A host without scheme, port or path."""

    pattern = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}")
    fault = "This is not a host.\nWrite the host alone: abc123.staging.bigcontent.io."


class HttpUrl(Text):
    """An absolute http or https URL.

    With `base` paths are appended to it, so it has no query or fragment and loses its last slash.
    """

    def __init__(self, *, base: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.base = base

    def _read(self, text: str) -> str:
        if "{{" in text:
            raise ValidationError(
                "This URL cannot be a template: only those of destinations can.\n"
                "Write the URL without {{ … }}."
            )
        parts = _split(text)
        if self.base and (parts.query or parts.fragment):
            raise ValidationError(
                "Paths are appended to this URL, so it can have no query and no fragment.\n"
                "Leave out what follows ? or #."
            )
        return text.rstrip("/") if self.base else text


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        reachable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        reachable = None
    if not reachable or re.search(r"\s", url):
        raise ValidationError(f"This is not an http or https URL.\n{_URL_ADVICE}")
    return parts


class SentryDsn(HttpUrl):
    """The address of a Sentry project: with the public key before the host, and the project's id.

    https://docs.sentry.io/concepts/key-terms/dsn-explainer/
    """

    def _read(self, text: str) -> str:
        parts = urlsplit(super()._read(text))
        if not parts.username or not re.fullmatch(r"[0-9]+", parts.path.rpartition("/")[2]):
            raise ValidationError(
                "This Sentry DSN has no public key or no project.\n"
                "Copy the whole DSN from Sentry: https://key@o1.ingest.sentry.io/1."
            )
        return text


class ReadableFile(Text):
    """The path of a file that is there, absolute or from the working directory.

    With `folder` it may also be a folder of such files.
    """

    def __init__(self, *, folder: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder = folder

    def _read(self, text: str) -> str:
        try:
            if not (self.folder and Path(text).is_dir()):
                Path(text).open("rb").close()
        except OSError as problem:
            raise ValidationError(
                f"This file cannot be read: {problem.strerror}.\nWrite the path of a PEM file."
            ) from None
        return text


class DatabaseUrl(Text):
    """`sqlite:///path` or `postgresql://…`; loads the form that SQLAlchemy wants."""

    def _read(self, text: str) -> str:
        scheme, separator, rest = text.partition("://")
        if separator and scheme in {"postgres", "postgresql", "postgresql+psycopg"}:
            _check_port(text)
            return f"postgresql+psycopg://{rest}"
        if scheme == "sqlite" and rest.startswith("/"):
            if rest == "/" or ":memory:" in rest:
                raise ValidationError(
                    "A database in memory loses every event when it stops.\n"
                    "Write sqlite:/// and a file's path, such as sqlite:///var/dc-relay.db."
                )
            return text
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


class Duration(Text):
    """`500ms`, `5s`, `30m`, `2h`, `1d`; loads seconds. Positive, and at most `longest` seconds."""

    def __init__(self, *, longest: float, **kwargs: Any) -> None:
        no_unit = 'This has no unit.\nWrite a number and a unit: "15s" or "500ms".'
        super().__init__(error_messages={"invalid": no_unit}, **kwargs)
        self.longest = longest

    def _read(self, text: str) -> float:
        written = _DURATION.fullmatch(text)
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


class Rate(Text):
    """`50/s`, `100/m`, `10/h`; loads sends per second."""

    def _read(self, text: str) -> float:
        written = _RATE.fullmatch(text)
        if written is None or not float(written[1]):
            raise ValidationError(
                'This is not a rate.\nWrite a number, a slash and s, m or h: "50/s", "100/m".'
            )
        return float(written[1]) / _UNITS[written[2]]


class Count(fields.Integer):
    """A whole number from 1 to `most`, not as a text."""

    def __init__(self, *, most: int, **kwargs: Any) -> None:
        text = f"This is not a whole number from 1 to {most}.\nWrite one, without quotes."
        super().__init__(
            strict=True,
            error_messages={"invalid": text},
            validate=validate.Range(min=1, max=most, error=text),
            **kwargs,
        )


class Number(fields.Integer):
    """A whole number in a variable, from `least` to `most`."""

    def __init__(self, *, most: int, least: int = 1, **kwargs: Any) -> None:
        text = f"This number is out of range.\nWrite a whole number from {least} to {most}."
        super().__init__(validate=validate.Range(min=least, max=most, error=text), **kwargs)


class Locale(Text):
    """A locale of an item, `en` or `en-GB`; with `any_locale` also `*`."""

    def __init__(self, *, any_locale: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.any_locale = any_locale

    def _read(self, text: str) -> str:
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

    def _read(self, text: str) -> str:
        choices = [choice.strip() for choice in text.split(",")]
        if not all(_LOCALE_EXPRESSION.fullmatch(choice) for choice in choices):
            raise ValidationError(
                "Content Delivery 2 does not take this as a locale.\n"
                'Write locales separated by commas, with * as in "fr-FR,fr-*,*".'
            )
        return ",".join(choices)


class EventName(Text):
    """The name of an event that Amplience sends."""

    def _read(self, text: str) -> str:
        if text not in KNOWN_EVENT_NAMES:
            advice = did_you_mean(text, KNOWN_EVENT_NAMES)
            raise ValidationError(f"Amplience sends no such event.\n{advice}")
        return text


class JsonPath(Text):
    """A JSONPath as in RFC 9535, kept as text."""

    def _read(self, text: str) -> str:
        try:
            jsonpath_rfc9535.compile(text)
        # The library converts a number such as 1e400 without a look at its size.
        except (jsonpath_rfc9535.JSONPathError, OverflowError) as error:
            # The library's own message quotes the path; only the position is taken over.
            token = getattr(error, "token", None)
            at = f" at character {token.index + 1}" if token else ""
            raise ValidationError(
                f"This is not a JSONPath (RFC 9535): there is a fault{at}.\n"
                "Start at the envelope: $.payload.body.region."
            ) from None
        return text


class SigningSecret(Text):
    """A Standard Webhooks secret: `whsec_` and 24 to 64 bytes in base64.

    https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    """

    def _read(self, text: str) -> str:
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
