"""The answers of the API, by schema. Each dumps what the ledger's queries return.

The names of these classes are the names in the OpenAPI document.
"""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, pre_dump

from app.queue.records import EventStory, JobStory
from app.queue.stats import Overview
from app.web.api.fields import When


def _about(text: str) -> dict[str, Any]:
    return {"description": text}


class Problem(Schema):
    """A problem document (RFC 9457)."""

    type = fields.String()
    title = fields.String()
    status = fields.Integer()
    reason = fields.String(metadata=_about("A slug that never changes; see docs/reference.md."))
    detail = fields.String()
    fields_ = fields.Dict(
        data_key="fields",
        keys=fields.String(),
        values=fields.List(fields.String()),
        metadata=_about("What is wrong with which argument."),
    )


class Event(Schema):
    """One webhook event."""

    id = fields.Integer(metadata=_about("The ledger's number of the event."))
    hub = fields.String()
    event_id = fields.String(metadata=_about("Amplience's id, unique within its hub."))
    name = fields.String()
    item_id = fields.String(allow_none=True)
    snapshot_id = fields.String(allow_none=True)
    snapshot_created = When(allow_none=True)
    schema = fields.String(allow_none=True)
    label = fields.String(allow_none=True)
    locale = fields.String(allow_none=True)
    request_id = fields.String(allow_none=True)
    origin = fields.String(metadata=_about("`webhook`, or the command or schedule that made it."))
    trace_id = fields.String(
        allow_none=True, metadata=_about("The trace that it belongs to (W3C Trace Context).")
    )
    received_at = When()
    states = fields.Dict(
        keys=fields.String(), values=fields.Integer(), metadata=_about("Its jobs, by state.")
    )


class Job(Schema):
    """One job, with what helps to recognize its event."""

    id = fields.Integer()
    event = fields.Integer(metadata=_about("The ledger's number of its event."))
    event_id = fields.String()
    event_name = fields.String()
    item_id = fields.String(allow_none=True)
    label = fields.String(allow_none=True)
    hub = fields.String()
    rule = fields.String()
    action = fields.String()
    target = fields.String(metadata=_about("A destination's name, else the hub's key."))
    state = fields.String()
    reason = fields.String(allow_none=True)
    message = fields.String(allow_none=True)
    attempts = fields.Integer(metadata=_about("Attempts that were begun."))
    failures = fields.Integer(metadata=_about("Failed ones that count against its schedule."))
    run_at = When(metadata=_about("When it is tried; means something while it waits."))
    created_at = When()
    started_at = When(allow_none=True)
    finished_at = When(allow_none=True)
    owner = fields.String(allow_none=True, metadata=_about("The worker that has or had it."))
    lease_until = When(allow_none=True)
    superseded_by = fields.Integer(allow_none=True)
    replay_of = fields.Integer(allow_none=True)
    args = fields.Dict(keys=fields.String())


class Attempt(Schema):
    """One attempt that ended."""

    number = fields.Integer()
    owner = fields.String(allow_none=True)
    outcome = fields.String()
    reason = fields.String(allow_none=True)
    message = fields.String(allow_none=True)
    detail = fields.Dict(keys=fields.String(), metadata=_about("What the action kept of it."))
    started_at = When(allow_none=True)
    finished_at = When()


class JobWithHistory(Job):
    """One job with its attempts, oldest first."""

    history = fields.List(fields.Nested(Attempt))
    message_bytes = fields.Integer(
        allow_none=True, metadata=_about("Size of what it sends, while that is kept.")
    )

    @pre_dump
    def _flat(self, story: JobStory, **_: Any) -> dict[str, Any]:
        return {
            **vars(story.job),
            "history": story.attempts,
            "message_bytes": story.message_bytes,
        }


class Conflict(Schema):
    """Another payload that came with the id of a known event. It was never acted on."""

    fingerprint = fields.String()
    times = fields.Integer()
    first_at = When()
    last_at = When()


class EventWithJobs(Event):
    """One event with its body, jobs and attempts."""

    items = fields.List(fields.String(), metadata=_about("The ids of all items that it is about."))
    body = fields.String(metadata=_about("The raw body, as it was received."))
    jobs = fields.List(fields.Nested(JobWithHistory))
    conflicts = fields.List(fields.Nested(Conflict))

    @pre_dump
    def _flat(self, story: EventStory, **_: Any) -> dict[str, Any]:
        return {
            **vars(story.event),
            "items": story.items,
            "body": story.body.decode("utf-8", "replace"),
            "jobs": story.jobs,
            "conflicts": story.conflicts,
        }


class _Page(Schema):
    next = fields.String(
        allow_none=True, metadata=_about("The cursor of the page that follows; null at the end.")
    )


class EventPage(_Page):
    """Some events, newest first."""

    events = fields.List(fields.Nested(Event), attribute="rows")


class JobPage(_Page):
    """Some jobs, newest first."""

    jobs = fields.List(fields.Nested(Job), attribute="rows")


class Replayed(Schema):
    """What a replay made."""

    event = fields.Integer()
    made = fields.List(fields.Integer(), metadata=_about("Ids of the new jobs."))
    active = fields.List(
        fields.Integer(), metadata=_about("Ids of jobs that were waiting or running already.")
    )


class ManyReplayed(_Page):
    """What a replay of many events made, or with `dry_run` would look at."""

    dry_run = fields.Boolean()
    events = fields.Integer(metadata=_about("Events replayed; with `dry_run`, events found."))
    jobs = fields.Integer(metadata=_about("New jobs."))
    active = fields.Integer(metadata=_about("Jobs that were waiting or running already."))
    refused = fields.Dict(
        keys=fields.String(), values=fields.Integer(), metadata=_about("Events, by reason.")
    )


class ManyRetried(_Page):
    """What a retry of many jobs did, or with `dry_run` would look at."""

    dry_run = fields.Boolean()
    jobs = fields.Integer(metadata=_about("Jobs retried; with `dry_run`, jobs found."))
    superseded = fields.Integer(metadata=_about("Made pointless by a newer job that waits."))
    refused = fields.Dict(
        keys=fields.String(), values=fields.Integer(), metadata=_about("Jobs, by reason.")
    )


class Destination(Schema):
    """How a destination fares, and its queue."""

    name = fields.String()
    configured = fields.Boolean()
    url = fields.String(allow_none=True, metadata=_about("Its host; the rest may be secret."))
    paused_at = When(allow_none=True)
    paused_reason = fields.String(allow_none=True)
    breaker = fields.String(metadata=_about("`closed` (all is well), `open` or `half-open`."))
    failures = fields.Integer(metadata=_about("Failed sends in a row."))
    opened_at = When(allow_none=True)
    probe_at = When(allow_none=True, metadata=_about("When an open breaker lets one job through."))
    waiting = fields.Integer()
    running = fields.Integer()
    dead = fields.Integer()
    oldest_age = fields.Float(
        allow_none=True, metadata=_about("Age in seconds of the oldest job that is not done.")
    )


class DestinationList(Schema):
    """Every destination."""

    destinations = fields.List(fields.Nested(Destination))


class Trial(Schema):
    """How a test message was taken."""

    destination = fields.String()
    ok = fields.Boolean()
    webhook_id = fields.String()
    status = fields.Integer(allow_none=True, metadata=_about("Null when there was no answer."))
    milliseconds = fields.Integer(allow_none=True)
    answer = fields.String(metadata=_about("The beginning of what was answered."))
    message = fields.String(allow_none=True, metadata=_about("What was wrong."))


class Rule(Schema):
    """One rule, as it is configured."""

    name = fields.String()
    hub = fields.String(allow_none=True, metadata=_about("Null: every hub."))
    events = fields.List(fields.String())
    action = fields.String()
    arguments = fields.Dict(keys=fields.String())
    where = fields.Dict(keys=fields.String(), values=fields.List(fields.String()))
    match = fields.List(fields.Dict(keys=fields.String()))


class RuleList(Schema):
    """Every rule, in order."""

    rules = fields.List(fields.Nested(Rule))


class Explanation(Schema):
    """Whether a rule wants an event, and if not, the first condition that it does not meet."""

    rule = fields.String()
    item_id = fields.String(
        allow_none=True, metadata=_about("Which item it is about, where there are several.")
    )
    matched = fields.Boolean()
    condition = fields.String(allow_none=True)
    found = fields.Raw(allow_none=True, metadata=_about("What the event has in its place."))


class Plan(Schema):
    """A job that a rule would ask for."""

    rule = fields.String()
    action = fields.String()
    target = fields.String()
    key = fields.String()
    args = fields.Dict(keys=fields.String())


class Explained(Schema):
    """What the rules make of an event. Nothing is stored or done."""

    event_id = fields.String()
    name = fields.String()
    hub = fields.String()
    item_id = fields.String(allow_none=True)
    rules = fields.List(fields.Nested(Explanation))
    plans = fields.List(fields.Nested(Plan))


class Lane(Schema):
    """The jobs of one action and target that are not done."""

    action = fields.String()
    target = fields.String()
    waiting = fields.Integer()
    running = fields.Integer()
    oldest_age = fields.Float(allow_none=True)
    due_age = fields.Float(allow_none=True)


class DeadGroup(Schema):
    """Dead jobs of one reason and target."""

    reason = fields.String(allow_none=True)
    action = fields.String()
    target = fields.String()
    jobs = fields.Integer()
    newest = fields.Integer(metadata=_about("The id of the last one of them."))


class Status(Schema):
    """What is happening now."""

    at = When()
    waiting = fields.Integer()
    running = fields.Integer()
    dead = fields.Integer()
    oldest_age = fields.Float(allow_none=True)
    workers = fields.Integer()
    beat_age = fields.Float(allow_none=True)
    paused = fields.List(fields.String())
    open_breakers = fields.List(fields.String())
    lanes = fields.List(fields.Nested(Lane))
    dead_groups = fields.List(fields.Nested(DeadGroup))

    @pre_dump
    def _named(self, found: Overview, **_: Any) -> dict[str, Any]:
        names = ("waiting", "running", "dead", "oldest_age")
        return {
            **vars(found),
            "at": found.now,
            "lanes": found.queues,
            **{name: getattr(found, name) for name in names},
        }
