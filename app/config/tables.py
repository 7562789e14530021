"""The settings that hold several values, as marshmallow fields: lists, headers, named tables.

This module must not know which setting is of which kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from marshmallow import ValidationError, fields, validate
from marshmallow.exceptions import SCHEMA

from app.config.fields import UNPRINTABLE, Name

_OURS = frozenset({"webhook-id", "webhook-timestamp", "webhook-signature"})
_TRANSPORT = frozenset({"connection", "content-length", "transfer-encoding"})
# RFC 9110, section 5.6.2: a header's name is a token.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class EntryList(fields.List[Any]):
    """A list, and not a table: marshmallow's own field would take the keys of one."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> list[Any]:
        if not isinstance(value, list):
            raise self.make_error("invalid")
        return super()._deserialize(value, attr, data, **kwargs)


class NamedTables(fields.Dict):
    """Tables by a name of our own: `[hubs.main]`. Faults stand under the name itself."""

    def __init__(self, table: fields.Field[Any], **kwargs: Any) -> None:
        super().__init__(keys=Name(), values=table, **kwargs)

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> dict[str, Any]:
        try:
            loaded: dict[str, Any] = super()._deserialize(  # type: ignore[no-untyped-call]
                value, attr, data, **kwargs
            )
        except ValidationError as error:
            if not isinstance(error.messages, dict):
                raise
            raise ValidationError(
                {name: _unwrapped(below) for name, below in error.messages.items()},
                valid_data=error.valid_data,
            ) from None
        return loaded


def _unwrapped(below: Mapping[str, Any]) -> dict[str, Any]:
    """Without the `key` and `value` that marshmallow puts around the faults of a mapping."""
    inside = below.get("value", {})
    faults = dict(inside) if isinstance(inside, dict) else {SCHEMA: inside}
    if "key" in below:
        faults[SCHEMA] = [*faults.get(SCHEMA, ()), *below["key"]]
    return faults


class TextList(fields.List[str]):
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


class Headers(fields.Dict):
    """HTTP headers of our own, as a table; loads a tuple of names and values."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(post_load=lambda headers: tuple(headers.items()), **kwargs)

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> dict[str, str]:
        headers: dict[str, Any] = super()._deserialize(  # type: ignore[no-untyped-call]
            value, attr, data, **kwargs
        )
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
    if UNPRINTABLE.search(value) or not _latin(value):
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
