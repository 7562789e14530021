"""The tables of rules in the TOML file, as marshmallow schemas, one per action.

Whether the hubs and destinations that a rule names exist is checked where all are joined. This
module must not know how a rule is matched or what its action does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from app.config.fields import (
    EventName,
    JsonPath,
    Locale,
    LocaleExpression,
    Name,
    Text,
    locale_list_fault,
)
from app.config.hub_tables import Table, one_of, some
from app.config.settings import (
    Condition,
    ForwardSpec,
    LocalizeSpec,
    Rule,
    UnpublishSpec,
    Where,
)
from app.config.tables import EntryList, TextList
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
    """`[[rules]]`: what every rule has."""

    name = Text(
        required=True,
        validate=validate.Length(
            max=100, error="This name is too long.\nUse up to 100 characters."
        ),
    )
    hub = Name()
    events = TextList(EventName(), required=True)
    where = fields.Nested(WhereTable)
    match = EntryList(fields.Nested(ConditionTable))
    action = Text(required=True, validate=_action)

    @validates_schema(skip_on_field_errors=False)
    def _events_name_an_item(self, loaded: dict[str, Any], **_: Any) -> None:
        if EDITION_EVENT_NAMES & set(loaded.get("events", ())):
            raise ValidationError(
                "An edition's event names no content item, so no action can use it.\n"
                "Use dynamic-content.snapshot.published, which names the item that was published.",
                "events",
            )

    def spec(self, loaded: dict[str, Any]) -> LocalizeSpec | ForwardSpec | UnpublishSpec:
        """What the rule's action is told."""
        raise NotImplementedError

    @post_load
    def _rule(self, loaded: dict[str, Any], **_: Any) -> Rule:
        return Rule(
            name=loaded["name"],
            events=loaded["events"],
            action=self.spec(loaded),
            hub=loaded.get("hub"),
            where=loaded.get("where", Where()),
            match=tuple(loaded.get("match", ())),
        )


class LocalizeTable(RuleTable):
    """A rule with `action = "localize"`."""

    source_locale = Locale(required=True)
    locales = TextList(Locale(any_locale=True), commas=True, required=True)
    set_missing_locale = fields.Boolean(load_default=False)
    replicate_folder_structure = fields.Boolean(load_default=False)

    @validates_schema(skip_on_field_errors=False)
    def _locales_fit(self, loaded: dict[str, Any], **_: Any) -> None:
        wanted = loaded.get("locales", ())
        if fault := locale_list_fault(wanted, source=loaded.get("source_locale")):
            raise ValidationError(fault, "locales")

    def spec(self, loaded: dict[str, Any]) -> LocalizeSpec:
        """What localize is told."""
        return LocalizeSpec(
            source_locale=loaded["source_locale"],
            locales=loaded["locales"],
            set_missing_locale=loaded["set_missing_locale"],
            replicate_folder_structure=loaded["replicate_folder_structure"],
        )


def _depth(value: Any) -> None:
    if value not in ("root", "all"):
        raise ValidationError(
            "POST /content/fetch documents only the depths root and all; numbers are for the "
            'read of one item.\nWrite depth = "root" or depth = "all".'
        )


class ForwardTable(RuleTable):
    """A rule with `action = "forward"`."""

    to = TextList(Text(), required=True)
    depth = fields.Raw(validate=_depth, load_default="all")
    format = Text(validate=one_of("linked", "inlined"), load_default="inlined")
    locale = LocaleExpression(load_default=None)

    def spec(self, loaded: dict[str, Any]) -> ForwardSpec:
        """What forward is told."""
        return ForwardSpec(
            to=loaded["to"],
            depth=loaded["depth"],
            format=loaded["format"],
            locale=loaded["locale"],
        )


class UnpublishTable(RuleTable):
    """A rule with `action = "unpublish"`."""

    to = TextList(Text(), load_default=())

    def spec(self, loaded: dict[str, Any]) -> UnpublishSpec:
        """What unpublish is told."""
        return UnpublishSpec(to=loaded["to"])


ACTION_TABLES: Mapping[str, type[RuleTable]] = {
    "localize": LocalizeTable,
    "forward": ForwardTable,
    "unpublish": UnpublishTable,
}

_COMMON = frozenset(RuleTable().fields)
_BY_ACTION = {
    action: frozenset(table().fields) - _COMMON for action, table in ACTION_TABLES.items()
}
# A rule without a known action is still checked for all that does not depend on it.
_Undecided = RuleTable.from_dict(
    {name: fields.Raw() for names in _BY_ACTION.values() for name in names}, name="Undecided"
)


def _home(setting: str) -> str:
    homes = [f'"{action}"' for action, names in _BY_ACTION.items() if setting in names]
    return f"It is for rules with action = {' or '.join(homes)}."


for _action_name, _table in ACTION_TABLES.items():
    _others = frozenset[str]().union(*_BY_ACTION.values()) - _BY_ACTION[_action_name]
    _table.elsewhere = {setting: _home(setting) for setting in _others}


class RuleField(fields.Raw):
    """One rule, checked by the table of its action; loads a `Rule`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(post_load=_load_rule, **kwargs)


def _load_rule(written: Any) -> Rule:
    action = written.get("action") if isinstance(written, Mapping) else None
    table = ACTION_TABLES.get(action, _Undecided) if isinstance(action, str) else _Undecided
    rule: Rule = table().load(written)
    return rule
