"""Events, plans and jobs for the tests of the ledger and of the worker, with good defaults."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from app.db import Storage
from app.events import SNAPSHOT_PUBLISHED, WebhookEvent
from app.queue import Job, accept, claim
from app.rules import Plan

ITEM = "5b0e6d3a-7c1f-4c0e-9e55-1f2a3b4c5d6e"


def event(event_id: str | None = None, **changes: Any) -> WebhookEvent:
    """A snapshot.published event."""
    made = WebhookEvent(
        hub="main",
        id=event_id or str(uuid.uuid4()),
        name=SNAPSHOT_PUBLISHED,
        payload={"id": "65f1a0c2d3e4f50001a2b505", "rootContentItem": {"id": ITEM}},
        body=b"",
        item_id=ITEM,
        snapshot_id="65f1a0c2d3e4f50001a2b505",
        label="Spring banner",
    )
    made = replace(made, **changes)
    return replace(made, body=made.body or json.dumps(made.envelope).encode())


def forward_plan(item: str = ITEM, **changes: Any) -> Plan:
    """Forward one item to the destination `default`."""
    made = Plan(
        rule="forward",
        action="forward",
        target="default",
        queue="forward:default",
        key=f"forward:default:main:{item}",
        version=0,
        args={"item_id": item},
    )
    return replace(made, **changes)


def localize_plan(item: str = ITEM, **changes: Any) -> Plan:
    """Localize one item."""
    made = Plan(
        rule="localize",
        action="localize",
        target="main",
        queue="localize:main",
        key=f"localize:main:{item}",
        version=0,
        args={"item_id": item, "locales": ["fr-FR"], "source_locale": "en-GB"},
    )
    return replace(made, **changes)


def accept_items(storage: Storage, count: int, **changes: Any) -> None:
    """Accept `count` events, each with a forward job of an item of its own."""
    batch = [(event(), [forward_plan(f"item-{number}", **changes)]) for number in range(count)]
    accept(storage, batch)


def claim_one(storage: Storage, owner: str = "worker-1", queue: str = "forward:default") -> Job:
    """Claim one job of a queue; fails when none is due."""
    [job] = claim(storage, owner=owner, wanted={queue: 1})
    return job


def at_once(storage: Storage, *asks: Callable[[], Any]) -> list[Any]:
    """What calls that share their writes return or raise: one group, as they wait behind one."""
    begun, go_on = threading.Event(), threading.Event()

    def first(_: Connection) -> None:
        begun.set()
        assert go_on.wait(5)

    with ThreadPoolExecutor(len(asks) + 1) as threads:
        leading = threads.submit(storage.shared_write, first)
        assert begun.wait(5)
        asked = []
        for number, ask in enumerate(asks, start=1):
            asked.append(threads.submit(ask))
            while len(storage._shared._group._line) < number:
                time.sleep(0.001)
        go_on.set()
        leading.result(5)
        return [one.exception(5) or one.result() for one in asked]
