from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from app.config import Condition, ForwardSpec, LocalizeSpec, Rule, UnpublishSpec, Where
from app.events import (
    CONTENT_ITEM_CREATED,
    CONTENT_ITEM_UPDATED,
    EDITION_PUBLISHED,
    KNOWN_EVENT_NAMES,
    SNAPSHOT_PUBLISHED,
    WebhookEvent,
)
from app.rules import Plan, explain, match
from app.schemas import load_event
from tests.builders import (
    encoded,
    forward_rule,
    localize_rule,
    make_event,
    make_message,
    unpublish_rule,
)

CREATED = make_event(CONTENT_ITEM_CREATED)
ARCHIVED = make_event(f"{CONTENT_ITEM_UPDATED}.archived")
PUBLISHED = make_event(SNAPSHOT_PUBLISHED)
ITEM = CREATED.item_id


def matches(event: WebhookEvent, rule: Rule) -> bool:
    return bool(match(event, [rule]))


def test_localize_plan_has_all_that_the_action_needs() -> None:
    spec = LocalizeSpec(
        source_locale="en-GB",
        locales=("fr-FR", "de-DE"),
        set_missing_locale=True,
        replicate_folder_structure=True,
    )
    assert match(CREATED, [localize_rule(name="new items", action=spec)]) == [
        Plan(
            rule="new items",
            action="localize",
            target="main",
            queue="localize:main",
            key=f"localize:main:{ITEM}",
            args={
                "item_id": ITEM,
                "source_locale": "en-GB",
                "locales": ["fr-FR", "de-DE"],
                "set_missing_locale": True,
                "replicate_folder_structure": True,
            },
        )
    ]


def test_forward_plans_one_job_per_destination() -> None:
    spec = ForwardSpec(to=("search", "erp"), depth="root", format="linked", locale="en-GB,*")
    plans = match(PUBLISHED, [forward_rule(action=spec)])
    assert [plan.target for plan in plans] == ["search", "erp"]
    assert plans[1] == Plan(
        rule="forward",
        action="forward",
        target="erp",
        queue="forward:erp",
        key=f"forward:erp:main:{ITEM}",
        args={
            "item_id": ITEM,
            "snapshot_id": PUBLISHED.snapshot_id,
            "depth": "root",
            "format": "linked",
            "locale": "en-GB,*",
        },
    )


def test_unpublish_plan_names_who_is_told() -> None:
    spec = UnpublishSpec(to=("search", "erp", "search"))
    assert match(ARCHIVED, [unpublish_rule(action=spec)]) == [
        Plan(
            rule="unpublish",
            action="unpublish",
            target="main",
            queue="unpublish:main",
            key=f"unpublish:main:{ITEM}",
            args={"item_id": ITEM, "to": ["search", "erp"]},
        )
    ]


@pytest.mark.parametrize(
    ("event", "rule"),
    [(CREATED, localize_rule()), (PUBLISHED, forward_rule()), (ARCHIVED, unpublish_rule())],
)
def test_arguments_survive_being_kept_as_json(event: WebhookEvent, rule: Rule) -> None:
    (plan,) = match(event, [rule])
    assert json.loads(json.dumps(plan.args)) == plan.args


def test_destination_named_twice_gets_one_job() -> None:
    rule = forward_rule(action=ForwardSpec(to=("search", "erp", "search")))
    assert [plan.target for plan in match(PUBLISHED, [rule])] == ["search", "erp"]


def test_two_rules_for_the_same_work_both_plan_it() -> None:
    plans = match(PUBLISHED, [forward_rule(name="a"), forward_rule(name="b")])
    assert [plan.rule for plan in plans] == ["a", "b"]
    assert plans[0].key == plans[1].key


def test_plans_come_in_the_order_of_the_rules() -> None:
    names = ["c", "a", "b"]
    rules = [localize_rule(name=name) for name in names]
    assert [plan.rule for plan in match(CREATED, rules)] == names


def test_keys_of_two_hubs_never_meet() -> None:
    other = make_event(SNAPSHOT_PUBLISHED, hub="other")
    (first,) = match(PUBLISHED, [forward_rule()])
    (second,) = match(other, [forward_rule()])
    assert first.key != second.key
    assert first.queue == second.queue


def test_date_of_an_event_does_not_decide_what_is_newer() -> None:
    for event in (PUBLISHED, make_event(SNAPSHOT_PUBLISHED, createdDate="2099-01-01T00:00:00Z")):
        (plan,) = match(event, [forward_rule()])
        assert plan.version == 0


@pytest.mark.parametrize("name", sorted(KNOWN_EVENT_NAMES))
def test_rule_wants_the_events_that_it_names_and_no_other(name: str) -> None:
    assert matches(make_event(name), localize_rule(events=(CONTENT_ITEM_CREATED,))) == (
        name == CONTENT_ITEM_CREATED
    )


def test_hub_of_the_rule_must_be_the_hub_of_the_event() -> None:
    assert matches(CREATED, localize_rule(hub="main"))
    assert not matches(CREATED, localize_rule(hub="other"))
    assert matches(make_event(hub="other"), localize_rule(hub=None))


@pytest.mark.parametrize("rule", [localize_rule, forward_rule, unpublish_rule])
def test_event_without_content_item_makes_no_job(rule: Any) -> None:
    edition = make_event(EDITION_PUBLISHED)
    wanted = rule(events=(EDITION_PUBLISHED,))
    assert match(edition, [wanted]) == []
    (why,) = explain(edition, [wanted])
    assert (why.matched, why.condition) == (False, "the event names a content item")


REPOSITORY = CREATED.repository_id or ""


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (Where(), True),
        (Where(schema=("https://schemas.example.com/banner.json",)), True),
        (Where(schema=("https://schemas.example.com/*",)), True),
        (Where(schema=("*/article.json", "*/banner.json")), True),
        (Where(schema=("https://schemas.example.com/article*",)), False),
        (Where(schema=("HTTPS://SCHEMAS.EXAMPLE.COM/*",)), False),
        (Where(repository=(REPOSITORY,)), True),
        (Where(repository=("66a10b?0000000000000000001",)), False),
        (Where(locale=("en-*",)), True),
        (Where(locale=("en",)), False),
        (Where(label=("Autumn*",)), True),
        (Where(label=("Spring*",)), False),
        (Where(status=("ACTIVE",)), True),
        (Where(status=("ARCHIVED",)), False),
        (Where(locale=("en-GB",), label=("Autumn*",), status=("ACTIVE",)), True),
        (Where(locale=("en-GB",), label=("Autumn*",), status=("ARCHIVED",)), False),
    ],
)
def test_where_globs(where: Where, *, expected: bool) -> None:
    assert matches(CREATED, localize_rule(where=where)) is expected


@pytest.mark.parametrize("glob", ["*", "", "en-GB", "?*"])
def test_missing_value_matches_no_glob(glob: str) -> None:
    event = make_event(f"{CONTENT_ITEM_CREATED}.no-locale")
    assert not matches(event, localize_rule(where=Where(locale=(glob,))))


def test_schema_of_a_snapshot_is_its_root_items() -> None:
    assert matches(PUBLISHED, forward_rule(where=Where(schema=("*/banner.json",))))


MISSING: Any = "$.payload.nothing"


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (Condition("$.payload.body.region", "equal", ("EU",)), True),
        (Condition("$.payload.body.region", "equal", ("US",)), False),
        (Condition("$.payload.body.region", "in", ("US", "EU")), True),
        (Condition("$.payload.body.region", "in", ("US", "UK")), False),
        (Condition("$.payload.body.region", "not_in", ("US", "UK")), True),
        (Condition("$.payload.body.region", "not_in", ("US", "EU")), False),
        (Condition("$.payload.body.region", "exists", (True,)), True),
        (Condition("$.payload.body.region", "exists", (False,)), False),
        (Condition(MISSING, "equal", ("EU",)), False),
        (Condition(MISSING, "in", ("EU",)), False),
        (Condition(MISSING, "not_in", ("EU",)), True),
        (Condition(MISSING, "exists", (True,)), False),
        (Condition(MISSING, "exists", (False,)), True),
        (Condition("$.payload.version", "equal", (1,)), True),
        (Condition("$.payload.version", "equal", (1.0,)), True),
        (Condition("$.payload.version", "equal", (True,)), False),
        (Condition("$.payload.version", "equal", ("1",)), False),
        (Condition("$.name", "equal", (CONTENT_ITEM_CREATED,)), True),
        (Condition("$.payload._links[*].href", "in", ("none",)), False),
        (Condition("$..schema", "equal", ("https://schemas.example.com/banner.json",)), True),
        (Condition("$.payload.body[?@ == 'EU']", "exists", (True,)), True),
    ],
)
def test_jsonpath_conditions(condition: Condition, *, expected: bool) -> None:
    assert matches(CREATED, localize_rule(match=(condition,))) is expected


def test_null_is_found_by_exists() -> None:
    event = make_event(region=None)
    found = Condition("$.payload.region", "exists", (True,))
    assert matches(event, localize_rule(match=(found,)))


def test_every_condition_must_hold() -> None:
    true = Condition("$.payload.version", "equal", (1,))
    false = Condition("$.payload.version", "equal", (2,))
    assert matches(CREATED, localize_rule(match=(true, true)))
    assert not matches(CREATED, localize_rule(match=(true, false)))


def test_deepest_body_that_is_let_in_can_be_searched() -> None:
    # The envelope and the payload are two levels of the hundred.
    deep: Any = 1
    for _ in range(98):
        deep = [deep]
    event = load_event(encoded(make_message(deep=deep)), hub="main")
    nowhere = Condition("$..nowhere", "not_in", ("x",))
    assert matches(event, localize_rule(match=(nowhere,)))


def test_query_that_cannot_be_answered_matches_nothing() -> None:
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    event = replace(CREATED, payload={"deep": deep})
    rule = localize_rule(match=(Condition("$..nowhere", "not_in", ("x",)),))
    assert match(event, [rule]) == []
    (why,) = explain(event, [rule])
    assert "recursion" in why.found


@pytest.mark.parametrize(
    ("rule", "condition", "found"),
    [
        (localize_rule(hub="other"), "hub is other", "main"),
        (
            localize_rule(events=(SNAPSHOT_PUBLISHED, EDITION_PUBLISHED)),
            f"name is one of {SNAPSHOT_PUBLISHED}, {EDITION_PUBLISHED}",
            CONTENT_ITEM_CREATED,
        ),
        (
            localize_rule(where=Where(locale=("fr-*", "de-*"))),
            "where.locale is fr-* or de-*",
            "en-GB",
        ),
        (
            localize_rule(match=(Condition("$.payload.version", "in", (2, 3)),)),
            "$.payload.version in 2, 3",
            [1],
        ),
        (
            localize_rule(match=(Condition(MISSING, "exists", (True,)),)),
            "$.payload.nothing exists True",
            [],
        ),
    ],
)
def test_explanation_names_the_first_condition_that_failed(
    rule: Rule, condition: str, found: Any
) -> None:
    (why,) = explain(CREATED, [rule])
    assert (why.rule, why.matched) == ("localize", False)
    assert (why.condition, why.found) == (condition, found)


def test_explanations_cover_every_rule_in_order() -> None:
    rules = [localize_rule(name="a"), forward_rule(name="b"), localize_rule(name="c")]
    whys = explain(CREATED, rules)
    assert [(why.rule, why.matched) for why in whys] == [("a", True), ("b", False), ("c", True)]
    assert (whys[0].condition, whys[0].found) == (None, None)
