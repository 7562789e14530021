"""Fields of the API's arguments and answers.

What a database could not hold (control characters, halves of surrogate pairs, numbers beyond
64 bits) is refused here, so that it never gets there.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from marshmallow import ValidationError, fields, validate

from app.events import isoformat

# Like JSON numbers of JavaScript, and within what both databases keep.
LARGEST_ID = (1 << 53) - 1
ID_PATH = f"<int(min=1, max={LARGEST_ID}):identifier>"

_PRINTABLE = r"^[^\x00-\x1f\x7f]+$"
_HALF_PAIRS = re.compile("[\ud800-\udfff]")


class Words(fields.String):
    """A text to look for: from 1 to `longest` characters, none of them a control character."""

    def __init__(self, *, longest: int = 200, **rest: Any) -> None:
        rules = [
            validate.Length(min=1, max=longest),
            validate.Regexp(_PRINTABLE, error="There are control characters in it."),
        ]
        super().__init__(validate=rules, **rest)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **rest: Any) -> Any:
        text = super()._deserialize(value, attr, data, **rest)
        if isinstance(text, str) and _HALF_PAIRS.search(text):
            raise ValidationError("There is half of a surrogate pair in it.")
        return text


class Number(fields.Integer):
    """A whole number from `least` to `most`, written as one."""

    def __init__(self, *, least: int = 1, most: int = LARGEST_ID, **rest: Any) -> None:
        super().__init__(validate=validate.Range(min=least, max=most), **rest)


class When(fields.AwareDateTime):
    """A moment: read in ISO 8601, without a zone in UTC; written with milliseconds and `Z`."""

    def __init__(self, **rest: Any) -> None:
        super().__init__(format="iso", default_timezone=UTC, **rest)

    def _serialize(
        self,
        value: datetime | None,
        attr: str | None,  # noqa: ARG002 - marshmallow's signature
        obj: Any,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> str | None:
        return None if value is None else isoformat(value)
