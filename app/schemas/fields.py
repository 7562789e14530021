"""The marshmallow fields of a webhook: strict where a job needs the value, tolerant elsewhere.

Amplience documents little more than the ids of a payload, so a tolerant field never fails: what is
missing, null or of another type is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from marshmallow import Schema, ValidationError, fields, missing

from app.events import read_moment, storable

LONGEST_IDENTIFIER = 200
LONGEST_TEXT = 1000
MOST_ENTRIES = 1000
# What a 64-bit column of either database holds.
_LARGEST_INTEGER = 2**63 - 1


class Identifier(fields.Field[str]):
    """A required name or id: 1 to 200 printable characters, so no NUL and no lone surrogate."""

    # The whole of it in one step, as below: a field of the library takes five, for each webhook.
    def deserialize(self, value: Any, attr: str | None = None, data: Any = None, **_: Any) -> str:
        """Read a value that must be there."""
        del attr, data
        self._validate_missing(value)
        if isinstance(value, str) and 0 < len(value) <= LONGEST_IDENTIFIER and _readable(value):
            return value
        raise ValidationError(
            f"Must be a string of 1 to {LONGEST_IDENTIFIER} printable characters."
        )


def _readable(text: str) -> bool:
    return text.isprintable() and not text.isspace()


class _Tolerant(fields.Field[Any]):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_none=True, load_default=None, **kwargs)

    def deserialize(self, value: Any, attr: str | None = None, data: Any = None, **_: Any) -> Any:
        """Read a value that may be missing or null; there is nothing to validate."""
        return None if value is None or value is missing else self._deserialize(value, attr, data)


class Text(_Tolerant):
    """A string that every database takes: no NUL, no lone surrogate, `longest` characters."""

    def __init__(self, *, longest: int = LONGEST_TEXT, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.longest = longest

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> str | None:
        del attr, data
        if not isinstance(value, str):
            return None
        return str(storable(value[: self.longest]))


class Integer(_Tolerant):
    """A whole number of at most 64 bits; true and false are none."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> int | None:
        del attr, data
        if isinstance(value, bool) or not isinstance(value, int):
            return None
        return value if abs(value) <= _LARGEST_INTEGER else None


class Moment(_Tolerant):
    """An ISO 8601 date as an aware datetime in UTC; one without an offset is taken as UTC."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> datetime | None:
        del attr, data
        return read_moment(value)


class Part(_Tolerant):
    """An object read with a schema of tolerant fields only; anything else is an empty one."""

    def __init__(self, schema: type[Schema], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # It keeps no state between loads, and making one costs more than many loads.
        self.schema_once = schema()

    def _deserialize(
        self, value: Any, attr: str | None, data: Any, **_: Any
    ) -> Mapping[str, Any] | None:
        del attr, data
        if not isinstance(value, Mapping):
            return None
        return dict(self.schema_once.load(value))


class Several(_Tolerant):
    """A list of objects read with one schema, whose faults are told with the entry's number.

    None for what is no list, or an empty one. More than `MOST_ENTRIES` are refused.
    """

    def __init__(self, schema: type[Schema], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.schema_once = schema(many=True)

    def _deserialize(
        self, value: Any, attr: str | None, data: Any, **_: Any
    ) -> list[dict[str, Any]] | None:
        del attr, data
        if not isinstance(value, list) or not value:
            return None
        if len(value) > MOST_ENTRIES:
            raise ValidationError(
                f"Has {len(value):,} entries; at most {MOST_ENTRIES:,} are taken."
            )
        return list(self.schema_once.load(value))


class Required(fields.Field[dict[str, Any] | None]):
    """An object that must be there, read with a schema of its own, whose faults are told.

    Beside a list under the name `unless` that is not empty, it is not read, and None.
    """

    def __init__(self, schema: type[Schema], *, unless: str | None = None, **kwargs: Any) -> None:
        # Not `required`, which marshmallow checks before there is a look at the other field.
        super().__init__(required=unless is None, allow_none=unless is not None, **kwargs)
        self.schema_once = schema()
        self.unless = unless

    def deserialize(
        self, value: Any, attr: str | None = None, data: Any = None, **_: Any
    ) -> dict[str, Any] | None:
        """Read it; raises the faults of what is in it under the names that they have there."""
        del attr
        several = data.get(self.unless) if self.unless and isinstance(data, Mapping) else None
        if isinstance(several, list) and several:
            return None
        if value is missing:
            raise self.make_error("required")
        if value is None:
            raise self.make_error("null")
        return dict(self.schema_once.load(value))
