"""Given an event: which jobs it asks for, with what arguments, and why not the others.

Pure. It returns plans and does nothing with them. It must not look anywhere but at the event: what
the content item is by now is the action's question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Literal

import jsonpath_rfc9535 as jsonpath

from app.config import (
    Condition,
    Destination,
    ForwardSpec,
    LocalizeSpec,
    Rule,
    UnpublishSpec,
)
from app.events import WebhookEvent

# The name in a job's arguments of the facts of its own item, where its event has several.
ITEM = "item"

ActionName = Literal["localize", "forward", "unpublish", "alert"]


@dataclass(frozen=True)
class Plan:
    """One rule applied to one event for one target: what becomes a job.

    `target` is the destination's name for a forward, else the hub's key. `key` names the thing
    that only one running job at a time may touch (an item's variants; an item at a destination).
    `queue` groups the jobs that wait for the same outside service, so that a slow one holds up no
    other. `version` orders the jobs of one key: the database's time at which the event arrived,
    in milliseconds since 1970; 0 stands for the time of writing. `args` is what the action needs,
    as plain JSON: a job keeps it, so that a change of the rules does not change work that was
    already asked for. `delay` is how many seconds the job waits for newer ones that may take its
    place.
    """

    rule: str
    action: ActionName
    target: str
    queue: str
    key: str
    version: int = 0
    args: Mapping[str, Any] = field(default_factory=dict)
    delay: float = 0.0


@dataclass(frozen=True)
class Explanation:
    """Whether a rule matched an event, and if not, which of its conditions failed first.

    `condition` is the condition in words, `found` what the event has in its place: None for a
    missing value, a list of values for a JSONPath. `item_id` is set where the event has several
    items, each of which has an explanation of its own.
    """

    rule: str
    matched: bool
    condition: str | None = None
    found: Any = None
    item_id: str | None = None


def match(
    event: WebhookEvent, rules: Sequence[Rule], destinations: Sequence[Destination] = ()
) -> list[Plan]:
    """The plans of every rule that wants the event, in the order of the rules.

    Each item of a snapshot is asked for by itself, and has plans of its own.
    `destinations` say how long and over what their messages are coalesced. Two rules may ask for
    the same work; both plans are kept, and the ledger lets one key run at a time.
    """
    places = {place.name: place for place in destinations}
    plans = (
        plan
        for rule in rules
        for one in event.by_item()
        if _first_failure(one, rule) is None
        for plan in _plans(one, rule, places)
    )
    # A build hook has one key for all items: of those of one event, one job is enough.
    return list({(plan.rule, plan.key): plan for plan in plans}.values())


def explain(event: WebhookEvent, rules: Sequence[Rule]) -> list[Explanation]:
    """Why each rule does or does not want each item of the event, in the order of the rules."""
    return [
        replace(
            _first_failure(one, rule) or Explanation(rule=rule.name, matched=True),
            item_id=one.item_id if one.items else None,
        )
        for rule in rules
        for one in event.by_item()
    ]


def _first_failure(event: WebhookEvent, rule: Rule) -> Explanation | None:
    condition, found = _first_unmet(event, rule)
    if condition is None:
        return None
    return Explanation(rule=rule.name, matched=False, condition=condition, found=found)


def _first_unmet(event: WebhookEvent, rule: Rule) -> tuple[str | None, Any]:
    if rule.hub is not None and rule.hub != event.hub:
        return f"hub is {rule.hub}", event.hub
    if event.name not in rule.events:
        return f"name is one of {', '.join(rule.events)}", event.name
    if event.item_id is None:
        return "the event names a content item", None
    for name, value in _simple_values(event).items():
        globs: tuple[str, ...] = getattr(rule.where, name)
        if globs and not _fits(value, globs):
            return f"where.{name} is {' or '.join(globs)}", value
    for condition in rule.match:
        holds, found = _test(event, condition)
        if not holds:
            return _in_words(condition), found
    return None, None


def _fits(value: str | None, globs: tuple[str, ...]) -> bool:
    """A missing value fits nothing, not even `*`: a rule that names a locale wants one there."""
    return value is not None and any(fnmatchcase(value, glob) for glob in globs)


def _simple_values(event: WebhookEvent) -> dict[str, str | None]:
    return {
        "schema": event.schema,
        "repository": event.repository_id,
        "locale": event.locale,
        "label": event.label,
        "status": event.status,
    }


@lru_cache(maxsize=256)
def _compiled(path: str) -> jsonpath.JSONPathQuery:
    return jsonpath.compile(path)


def _test(event: WebhookEvent, condition: Condition) -> tuple[bool, Any]:
    """Whether the condition holds, and the values found."""
    try:
        found = _compiled(condition.path).find(event.envelope).values()
    except jsonpath.JSONPathError as error:
        # A query that cannot be answered holds for no event; `not_in` must not turn it into a yes.
        return False, f"JSONPath: {error}"
    any_wanted = any(_equal(value, wanted) for value in found for wanted in condition.values)
    match condition.test:
        case "equal" | "in":
            return any_wanted, found
        case "not_in":
            return not any_wanted, found
        case "exists":
            return bool(found) in condition.values, found


def _equal(left: Any, right: Any) -> bool:
    """Equality as JSON has it: for Python, true is 1."""
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _in_words(condition: Condition) -> str:
    return f"{condition.path} {condition.test} {', '.join(map(repr, condition.values))}"


def _plans(event: WebhookEvent, rule: Rule, places: Mapping[str, Destination]) -> list[Plan]:
    match rule.action:
        case LocalizeSpec() as spec:
            return [_localize(event, rule, spec)]
        case ForwardSpec() as spec:
            # A destination that is named twice is still one place.
            return [
                _forward(event, rule, spec, target=name, place=places.get(name))
                for name in dict.fromkeys(spec.to)
            ]
        case UnpublishSpec() as spec:
            return [_unpublish(event, rule, spec)]


def _item(event: WebhookEvent) -> dict[str, Any]:
    """What a job must know of its item: of several items, the event's own row has the first."""
    if not event.items:
        return {"item_id": event.item_id}
    return {"item_id": event.item_id, ITEM: {"schema": event.schema, "label": event.label}}


def item_of(args: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of its item that a job's arguments hold; none where the event's row has them."""
    facts = args.get(ITEM)
    if not isinstance(facts, Mapping):
        return {}
    known = {name: facts.get(name) for name in ("schema", "label")}
    texts = {name: fact if isinstance(fact, str) else None for name, fact in known.items()}
    return {"item_id": args.get("item_id"), **texts}


def _localize(event: WebhookEvent, rule: Rule, spec: LocalizeSpec) -> Plan:
    return Plan(
        rule=rule.name,
        action="localize",
        target=event.hub,
        queue=f"localize:{event.hub}",
        key=f"localize:{event.hub}:{event.item_id}",
        args={
            **_item(event),
            "source_locale": spec.source_locale,
            "locales": list(spec.locales),
            "set_missing_locale": spec.set_missing_locale,
            "replicate_folder_structure": spec.replicate_folder_structure,
        },
    )


def _forward(
    event: WebhookEvent,
    rule: Rule,
    spec: ForwardSpec,
    *,
    target: str,
    place: Destination | None,
) -> Plan:
    whole = place is not None and place.coalesce_over == "destination"
    return Plan(
        rule=rule.name,
        action="forward",
        target=target,
        queue=f"forward:{target}",
        # A build hook builds everything: of all items' events, the newest is enough.
        key=key_of_all_items(target) if whole else f"forward:{target}:{event.hub}:{event.item_id}",
        delay=place.coalesce if place else 0.0,
        args={
            **_item(event),
            "snapshot_id": event.snapshot_id,
            "depth": spec.depth,
            "format": spec.format,
            "locale": spec.locale,
        },
    )


def key_of_all_items(destination: str) -> str:
    """The key of a destination's jobs where one of them stands for the events of all items."""
    return f"forward:{destination}"


def _unpublish(event: WebhookEvent, rule: Rule, spec: UnpublishSpec) -> Plan:
    return Plan(
        rule=rule.name,
        action="unpublish",
        target=event.hub,
        queue=f"unpublish:{event.hub}",
        key=f"unpublish:{event.hub}:{event.item_id}",
        args={**_item(event), "to": list(dict.fromkeys(spec.to))},
    )
