"""Tables of the document, and the settings in them that hold several values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from marshmallow import RAISE, Schema, ValidationError, fields, validate
from marshmallow.exceptions import SCHEMA

from app.config.fields import Name, did_you_mean


def one_of(*choices: str) -> validate.OneOf:
    """One of `choices`, as it stands."""
    return validate.OneOf(choices, error=f"This is not a choice.\nWrite {' or '.join(choices)}.")


def some() -> validate.Length:
    """A list with at least one entry."""
    return validate.Length(min=1, error="This is empty.\nName at least one.")


class Table(Schema):
    """A table of settings. A setting that it does not know is a fault, so that no typo is ignored.

    `elsewhere` says of settings of other tables where they belong.
    """

    class Meta:
        """marshmallow's options."""

        unknown = RAISE

    elsewhere: ClassVar[Mapping[str, str]] = {}

    def handle_error(self, error: ValidationError, data: Any, **_: Any) -> None:
        """Say more about an unknown setting than that it is unknown."""
        known = {each.data_key or name for name, each in self.fields.items()}
        messages = error.messages
        if isinstance(data, Mapping) and isinstance(messages, dict):
            for key in set(data) - known:
                messages[key] = [self._unknown(key, known)]

    def _unknown(self, key: str, known: Iterable[str]) -> str:
        if key in self.elsewhere:
            return f"This setting does not belong here.\n{self.elsewhere[key]}"
        return f"There is no such setting.\n{did_you_mean(key, known)}"


class EntryList(fields.List[Any]):
    """A list and never a table: marshmallow's own field would take the keys of one."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> list[Any]:
        if not isinstance(value, list):
            raise self.make_error("invalid")
        return super()._deserialize(value, attr, data, **kwargs)


class NamedTables(fields.Dict):
    """Tables by a name of the operator's: `[hubs.main]`; each value is given its name as `named`.

    Faults stand under the name itself. A table with faults stays a mapping in the valid data.
    """

    def __init__(self, table: type[Table], *, named: str, **kwargs: Any) -> None:
        super().__init__(keys=Name(), values=fields.Nested(table), post_load=self._name, **kwargs)
        self.named = named

    def _name(self, loaded: Mapping[str, Any]) -> dict[str, Any]:
        return {name: replace(value, **{self.named: name}) for name, value in loaded.items()}

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

    With `commas` a text is split at its commas, and blanks are dropped, so that one variable can
    hold several. The faults of a single text stand at the setting, those of a list at the entry.
    """

    def __init__(self, inner: fields.Field[str], *, commas: bool = False, **kwargs: Any) -> None:
        super().__init__(
            inner,
            validate=some(),
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
        return [entry for each in written for entry in _split(each)]


def _split(entry: Any) -> Iterable[Any]:
    if not isinstance(entry, str):
        return [entry]
    return [part.strip() for part in entry.split(",") if part.strip()]
