"""The tables of rules, one per action, and the conditions in them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from app.config.fields import (
    EventName,
    JsonPath,
    Locale,
    LocaleExpression,
    Name,
    Text,
)
from app.config.settings import (
    Condition,
    ForwardSpec,
    LocalizeSpec,
    Rule,
    UnpublishSpec,
    Where,
)
from app.config.tables import EntryList, Table, TextList, one_of, some
from app.events import EDITION_EVENT_NAMES


class WhereTable(Table):
    """`where = { … }` of a rule."""

    schema = TextList(Text())
    repository = TextList(Text())
    locale = TextList(Text())
    label = TextList(Text())
    status = TextList(Text())

    @post_load
    def _where(self, loaded: dict[str, Any], **_: Any) -> Where:
        return Where(**loaded)


def _plain(value: Any) -> None:
    comparable = isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
    if not comparable:
        raise ValidationError("JSON holds no such value.\nWrite a text, a number, true or false.")


TESTS = ("equal", "in", "not_in", "exists")


class ConditionTable(Table):
    """One entry of `match` of a rule."""

    path = JsonPath(required=True)
    equal = fields.Raw(validate=_plain)
    in_ = EntryList(fields.Raw(validate=_plain), data_key="in", attribute="in", validate=some())
    not_in = EntryList(fields.Raw(validate=_plain), validate=some())
    exists = fields.Boolean()

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def _one_test(self, _loaded: dict[str, Any], original: Any, **_: Any) -> None:
        if isinstance(original, Mapping) and sum(test in original for test in TESTS) != 1:
            raise ValidationError(
                f"A condition has exactly one test.\nWrite one of {', '.join(TESTS)}."
            )

    @post_load
    def _condition(self, loaded: dict[str, Any], **_: Any) -> Condition:
        test = next(test for test in TESTS if test in loaded)
        wanted = loaded[test]
        values = tuple(wanted) if isinstance(wanted, list) else (wanted,)
        return Condition(path=loaded["path"], test=test, values=values)  # type: ignore[arg-type]


def _action(value: str) -> None:
    if value not in ACTION_TABLES:
        raise ValidationError(f"There is no such action.\nWrite {' or '.join(ACTION_TABLES)}.")


class RuleTable(Table):
    """`[[rules]]`: what every rule has. The settings of its action go to `spec`."""

    spec: ClassVar[Callable[..., LocalizeSpec | ForwardSpec | UnpublishSpec]]

    name = Text(
        required=True,
        validate=validate.Length(
            max=100, error="This name is too long.\nUse up to 100 characters."
        ),
    )
    hub = Name()
    events = TextList(EventName(), required=True)
    where = fields.Nested(WhereTable)
    match = EntryList(fields.Nested(ConditionTable), post_load=tuple)
    action = Text(required=True, validate=_action)

    @validates_schema(skip_on_field_errors=False)
    def _events_name_an_item(self, loaded: dict[str, Any], **_: Any) -> None:
        if EDITION_EVENT_NAMES & set(loaded.get("events", ())):
            raise ValidationError(
                "An edition's event names no content item, so no action can use it.\n"
                "Use dynamic-content.snapshot.published, which names the item that was published.",
                "events",
            )

    @post_load
    def _rule(self, loaded: dict[str, Any], **_: Any) -> Rule:
        common = {name: loaded.pop(name) for name in RuleTable._declared_fields if name in loaded}
        return Rule(**{**common, "action": self.spec(**loaded)})


class LocalizeTable(RuleTable):
    """A rule with `action = "localize"`."""

    spec = LocalizeSpec

    source_locale = Locale(
        required=True,
        error_messages={
            "required": "The source locale is required.\n"
            "Add it: the locale of the items that are to be localized, such as en-GB."
        },
    )
    locales = TextList(Locale(any_locale=True), commas=True, required=True)
    set_missing_locale = fields.Boolean()
    replicate_folder_structure = fields.Boolean()

    @validates_schema(skip_on_field_errors=False)
    def _locales_fit(self, loaded: dict[str, Any], **_: Any) -> None:
        locales = loaded.get("locales", ())
        if "*" in locales and len(locales) > 1:
            raise ValidationError(
                "The * stands for all locales and cannot be combined.\n"
                "Write * alone, or the locales.",
                "locales",
            )
        if loaded.get("source_locale") in locales:
            raise ValidationError(
                "The source locale is one of the locales to make.\n"
                "Take it out of the list: the item is there already.",
                "locales",
            )


def _depth(value: Any) -> None:
    if value not in ("root", "all"):
        raise ValidationError(
            "POST /content/fetch documents only the depths root and all; numbers are for the "
            'read of one item.\nWrite depth = "root" or depth = "all".'
        )


class ForwardTable(RuleTable):
    """A rule with `action = "forward"`."""

    spec = ForwardSpec

    to = TextList(Text(), required=True)
    depth = fields.Raw(validate=_depth)
    format = Text(validate=one_of("linked", "inlined"))
    locale = LocaleExpression()


class UnpublishTable(RuleTable):
    """A rule with `action = "unpublish"`."""

    spec = UnpublishSpec

    to = TextList(Text())


ACTION_TABLES: Mapping[str, type[RuleTable]] = {
    "localize": LocalizeTable,
    "forward": ForwardTable,
    "unpublish": UnpublishTable,
}

_OWN_SETTINGS = {
    action: frozenset(table().fields) - frozenset(RuleTable().fields)
    for action, table in ACTION_TABLES.items()
}
_ALL_SETTINGS = frozenset[str]().union(*_OWN_SETTINGS.values())
# A rule without a known action is still checked for all that does not depend on it.
_UndecidedTable = RuleTable.from_dict(
    {name: fields.Raw() for name in _ALL_SETTINGS}, name="UndecidedTable"
)


def _actions_with(setting: str) -> str:
    actions = [f'"{action}"' for action, names in _OWN_SETTINGS.items() if setting in names]
    return f"It is for rules with action = {' or '.join(actions)}."


for _name, _table in ACTION_TABLES.items():
    _table.elsewhere = {
        setting: _actions_with(setting) for setting in _ALL_SETTINGS - _OWN_SETTINGS[_name]
    }


def load_rule(written: Any) -> Rule:
    """Check one rule with the table of its action; raises marshmallow's `ValidationError`."""
    action = written.get("action") if isinstance(written, Mapping) else None
    known = ACTION_TABLES.get(action) if isinstance(action, str) else None
    rule: Rule = (known or _UndecidedTable)().load(written)
    return rule
