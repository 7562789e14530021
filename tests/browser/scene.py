"""A ledger with a bit of everything in it, for the pages that show it: made with the real verbs.

`fill` makes eight events in every state that a job can be in; `add_history` a day of traffic
before them, which only the charts count.
"""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass
from threading import Event
from typing import Any

from sqlalchemy import select, update

from app.config import Condition, ForwardSpec, Settings
from app.db import Storage
from app.db.tables import attempts, jobs, now_ms, webhook_events
from app.events import CONTENT_ITEM_CREATED, SNAPSHOT_PUBLISHED, WebhookEvent
from app.queue import Job, accept, claim, finish, heartbeat, record_health
from app.queue.operator import cancel_job, pause
from app.retry import Decision
from app.rules import Plan, match
from tests.builders import (
    forward_rule,
    localize_rule,
    make_destination,
    make_event,
    make_settings,
)
from tests.queue.making import forward_plan

TOKEN = "the-admin-token-of-the-tests"
WORKER = "worker-a1"
EVIL = "<script>document.title='owned'</script><b>Bold</b>"
_BEFORE_MS = {"Spring banner": 250_000, "Summer sale": 190_000, "Shop hero": 150_000}


@dataclass(frozen=True)
class Scene:
    """Ids of the ledger that tests ask for, by the label of the event."""

    events: dict[str, int]
    jobs: dict[tuple[str, str], int]


def scene_settings(**changes: Any) -> Settings:
    """Three destinations, and rules of which one wants nothing of what comes."""
    everywhere = ForwardSpec(to=("search", "shop", "site-build"))
    only_eu = (Condition("$.payload.region", "in", ("EU",)),)
    defaults: dict[str, Any] = {
        "admin_token": TOKEN,
        "rules": (
            localize_rule(name="localize new banners"),
            forward_rule(name="publish everywhere", action=everywhere),
            forward_rule(name="only the EU", match=only_eu),
        ),
        "destinations": tuple(make_destination(name) for name in everywhere.to),
    }
    return make_settings(**{**defaults, **changes})


def published(label: str, **changes: Any) -> WebhookEvent:
    """A snapshot of an item of this label, with ids of its own."""
    item = str(uuid.uuid5(uuid.NAMESPACE_URL, label))
    root = {"label": label, "contentTypeUri": "https://schemas.example.com/banner.json", "id": item}
    return make_event(
        SNAPSHOT_PUBLISHED, event_id=str(uuid.uuid4()), rootContentItem=root, **changes
    )


def created(label: str, locale: str = "en-GB") -> WebhookEvent:
    """A new item of this label."""
    item = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{label} {locale}"))
    return make_event(
        CONTENT_ITEM_CREATED, event_id=str(uuid.uuid4()), id=item, label=label, locale=locale
    )


def fill(storage: Storage, settings: Settings) -> Scene:
    """Make a job of every state; the worker that did it still beats."""
    first = published("Spring banner", createdDate="2025-09-03T11:00:00.000Z")
    newer = published("Spring banner", createdDate="2025-09-03T11:05:00.000Z")
    unpublished = published("Old promotion")
    events = [
        first,
        published("Summer sale"),
        published("Shop hero"),
        created("Store finder"),
        created("Store finder", "fr-FR"),
        published(EVIL),
        unpublished,
        make_event("dynamic-content.edition.published", event_id=str(uuid.uuid4())),
    ]
    for event in events:
        accept(storage, [(event, match(event, settings.rules, settings.destinations))])
    _work(storage)
    _backdate(storage)
    accept(storage, [(newer, match(newer, settings.rules, settings.destinations))])
    _beat(storage)
    return _scene(storage)


def _work(storage: Storage) -> None:
    """Spring banner and its like: search takes all, shop fails, site-build is gone and paused."""
    for job in _claim(storage, "forward:search"):
        finish(storage, job, _taken(job))
    for job in _claim(storage, "forward:shop"):
        if job.label == "Spring banner":
            finish(storage, job, _busy(job, delay=240))
        elif job.label == "Old promotion":
            finish(storage, job, Decision("skipped", "skipped", "item-unpublished"))
        else:
            finish(storage, job, _refused(job))
    for _ in range(5):
        record_health(storage, "shop", "bad")
    sites = _claim(storage, "forward:site-build")
    for job in sites[1:]:
        finish(storage, job, _busy(job, delay=7_000))
    finish(storage, sites[0], Decision("superseded", "superseded", "newer-sent"))
    cancel_job(storage, sites[1].id)
    pause(storage, "site-build", "rebuild of the site, until Monday")
    store, variant = _claim(storage, "localize:main")
    look = Decision("waiting", "look-again", "awaiting-variants", delay=0, detail={"looks": 1})
    finish(storage, store, look)
    finish(storage, variant, Decision("skipped", "skipped", "is-a-variant"))
    claim(storage, owner=WORKER, wanted={"localize:main": 1})


def _claim(storage: Storage, queue: str) -> list[Job]:
    claimed = claim(storage, owner=WORKER, wanted={queue: 20})
    return sorted(claimed, key=lambda job: job.id)


def _taken(job: Job) -> Decision:
    answer = '{"ok": true, "indexed": 1}' if job.label != EVIL else EVIL
    detail = {**_exchange(200), "answer": answer, "verified": True}
    return Decision("succeeded", "succeeded", detail=detail)


def _busy(job: Job, *, delay: float) -> Decision:
    return Decision(
        "waiting",
        "retry",
        "destination-unavailable",
        "https://shop.example/*** answered 503",
        delay=delay,
        failures=job.failures + 1,
        detail={**_exchange(503), "answer": "upstream is restarting, try again later"},
    )


def _refused(job: Job) -> Decision:
    return Decision(
        "dead",
        "failed",
        "destination-refused",
        "https://shop.example/*** answered 422",
        failures=job.failures + 1,
        detail={**_exchange(422), "answer": f'{{"error": "unknown field", "of": "{job.label}"}}'},
    )


def _exchange(status: int) -> dict[str, Any]:
    return {
        "method": "POST",
        "url": "https://shop.example/***",
        "status": status,
        "milliseconds": 184,
        "bytes": 2312,
    }


def _backdate(storage: Storage) -> None:
    """Let some events have come minutes ago; what they ended with follows them."""
    event, job = webhook_events.c, jobs.c
    with storage.write() as connection:
        for label, earlier in _BEFORE_MS.items():
            rows = list(connection.execute(select(event.id).where(event.label == label)).scalars())
            connection.execute(
                update(webhook_events)
                .where(event.id.in_(rows))
                .values(received_at=event.received_at - earlier)
            )
            theirs = select(job.id).where(job.event.in_(rows))
            shifted = {name: attempts.c[name] - earlier for name in ("started_at", "finished_at")}
            connection.execute(update(attempts).where(attempts.c.job.in_(theirs)).values(shifted))
            times = ("created_at", "started_at", "finished_at")
            moved = {name: job[name] - earlier for name in times}
            connection.execute(update(jobs).where(job.event.in_(rows)).values(moved))


def add_history(storage: Storage, count: int = 600) -> None:
    """Add events of the last day, all done, more of them by day than by night."""
    events = [(published(f"Article {number}"), [_history_plan(number)]) for number in range(count)]
    for start in range(0, count, 100):
        accept(storage, events[start : start + 100])
    with storage.write() as connection:
        now = connection.execute(select(now_ms())).scalar_one()
        rows = connection.execute(
            select(jobs.c.id, jobs.c.event).where(jobs.c.rule == "history").order_by(jobs.c.id)
        ).all()
        for place, (job, event) in enumerate(rows):
            # Waves: close together around some hours, apart around others; newest last.
            back = (len(rows) - place) / len(rows)
            ago = (back + 0.03 * math.sin(back * 40)) * 86_000_000 * back
            at = now - max(61_000, round(ago))
            connection.execute(
                update(webhook_events).where(webhook_events.c.id == event).values(received_at=at)
            )
            state = "dead" if place % 97 == 5 else "succeeded"
            changes = {"state": "succeeded", "created_at": at, "finished_at": at + 900}
            connection.execute(
                update(jobs).where(jobs.c.id == job).values({**changes, "state": state})
            )
        # A chart shows when a job died, also of those that a person has retried since.
        connection.execute(
            update(jobs)
            .where(jobs.c.rule == "history", jobs.c.state == "dead")
            .values(reason="destination-refused", message="https://shop.example/*** answered 422")
        )


def _history_plan(number: int) -> Plan:
    return forward_plan(
        f"history-{number}", rule="history", target="search", queue="forward:search"
    )


def _scene(storage: Storage) -> Scene:
    with storage.read() as connection:
        events = connection.execute(
            select(webhook_events.c.label, webhook_events.c.id).order_by(webhook_events.c.id.desc())
        ).all()
        found = connection.execute(
            select(webhook_events.c.label, jobs.c.target, jobs.c.id)
            .join(jobs, jobs.c.event == webhook_events.c.id)
            .order_by(jobs.c.id.desc())
        ).all()
    # Of several with one label, the first: the newest come first here.
    return Scene(
        events={row.label: row.id for row in events},
        jobs={(row.label, row.target): row.id for row in found},
    )


def keep_beating(storage: Storage, over: Event) -> None:
    """Let the scene's worker live until it is over: without it a page says so, and grows."""
    while not over.wait(1):
        _beat(storage)


def _beat(storage: Storage) -> None:
    heartbeat(storage, owner=WORKER, host="host-1", pid=41, running=[])
