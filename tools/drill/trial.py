"""One trial: the service on one database, trouble for a while, quiet, and the judgement."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import requests

from tools import emulator, stores
from tools.drill.chaos import Chaos, Keeper
from tools.drill.senders import SNAPSHOT_PUBLISHED, Senders, Sent
from tools.emulator import SandboxServer
from tools.service import HERE, free_port, make_tables

QUIET_WITHIN = 100.0
DESTINATIONS = ("steady", "flapping")
DESTINATION = """
[destinations.{name}]
url = "${{SANDBOX}}/downstream/{name}"
allow_private = true
timeout = "3s"
retry = {{ schedule = [{schedule}], jitter = 0.2 }}
"""
RULES = """
[[rules]]
name = "forward"
events = ["dynamic-content.snapshot.published"]
action = "forward"
to = ["steady", "flapping"]

[[rules]]
name = "localize"
events = ["dynamic-content.content-item.created"]
action = "localize"
source_locale = "en-GB"
locales = ["fr-FR", "de-DE"]
"""
SCHEDULE = ("200ms", "500ms", "1s", "2s", "3s", *["5s"] * 15)


@dataclass(frozen=True)
class Verdict:
    """What came of a trial. Times are in seconds, of this machine's clock.

    `lost` and `twice` name events; `changed_id` are events whose messages did not all carry the
    same `webhook-id`. `recovery` is the time from the end of all trouble until nothing was left to
    do. `delays` are those from the acceptance of a publication to its message, by destination.
    """

    store: str
    seconds: float
    counted: Counter[str]
    restarts: int
    events: int
    posts: Counter[str]
    accepted: int
    lost: list[str]
    twice: list[str]
    changed_id: list[str]
    longest_refusal: float
    delays: dict[str, list[float]]
    recovery: float | None
    states: dict[str, int]


def commands(store: stores.Store, *, broken: bool) -> dict[str, Sequence[str]]:
    """What runs: on SQLite `serve`, on PostgreSQL the web and two workers by themselves."""
    web, worker = HERE.command("web"), HERE.command("worker")
    if broken:
        web[-1] = "tools.drill.broken:app"
    if broken or isinstance(store, stores.PostgresStore):
        return {"web": web, "worker 1": worker, "worker 2": worker}
    return {"serve": ("-m", "app", "serve")}


def run(
    kind: type[stores.Store],
    *,
    over: threading.Event,
    seconds: float,
    rate: float,
    broken: bool = False,
) -> Verdict:
    """Run one trial; `seconds` is how long everything fails, `rate` is events a second.

    It ends early, without a verdict that means anything, when `over` is set.
    """
    with ExitStack() as stack:
        store, directory = stack.enter_context(stores.store(kind))
        url = store.database("relay")
        sandbox = stack.enter_context(emulator.made())
        port = free_port()
        environ = _environment(sandbox, url, directory, port)
        make_tables(environ)
        keeper = Keeper(commands(store, broken=broken), environ, directory)
        stack.callback(keeper.close)
        _await_ready(f"http://127.0.0.1:{port}")
        with Senders(sandbox, f"http://127.0.0.1:{port}", rate) as senders:
            with Chaos(keeper, sandbox, store, only_web=broken) as chaos:
                over.wait(seconds)
            calm_at = time.time()
        quiet_at = _await_quiet(url, sandbox, over)
        return _verdict(
            store,
            senders.events,
            sandbox,
            seconds=seconds,
            counted=chaos.counted,
            recovery=None if quiet_at is None else max(0.0, quiet_at - calm_at),
            states=_states(url),
        )


def _environment(sandbox: SandboxServer, url: str, directory: Path, port: int) -> dict[str, str]:
    file = directory / "drill.toml"
    schedule = ", ".join(f'"{delay}"' for delay in SCHEDULE)
    tables = [DESTINATION.format(name=name, schedule=schedule) for name in DESTINATIONS]
    file.write_text("".join((*tables, RULES)))
    # The file's rules stand in place of the one that these would make.
    unset = {"FORWARD_URL": "", "FORWARD_ALLOW_PRIVATE": ""}
    changes = {"RELAY_CONFIG": str(file), "SANDBOX": sandbox.url, "LOG_LEVEL": "INFO"}
    return emulator.pointed_at(
        sandbox, url, **unset, **changes, PORT=str(port), WEB_CONCURRENCY="2"
    )


def _await_ready(url: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if requests.get(f"{url}/readyz", timeout=3).status_code == 200:
                return
        except requests.RequestException:
            pass
        time.sleep(0.1)
    raise RuntimeError("the service did not start")


def _states(url: str) -> dict[str, int]:
    """How many jobs there are in each state, the dead ones by reason."""
    with stores.connected(url) as connection:
        rows = connection.execute(
            "SELECT state, reason, count(*) FROM jobs GROUP BY state, reason"
        ).fetchall()
    found: Counter[str] = Counter()
    for state, reason, count in rows:
        found[f"{state} ({reason})" if state == "dead" else state] += count
    return dict(found)


def _await_quiet(url: str, sandbox: SandboxServer, over: threading.Event) -> float | None:
    """Wait until no job is left to do; returns when that was, None when it did not come."""
    deadline = time.monotonic() + QUIET_WITHIN
    while time.monotonic() < deadline:
        try:
            left = {"waiting", "running"} & set(_states(url))
        except (psycopg.Error, sqlite3.Error):
            left = {"unknown"}
        if not left:
            quiet_at = time.time()
            sandbox.settle(10)
            return quiet_at
        if over.wait(0.1):
            break
    return None


def _verdict(
    store: stores.Store, events: Sequence[Sent], sandbox: SandboxServer, **more: Any
) -> Verdict:
    arrived = _messages(sandbox)
    accepted = [event for event in events if event.accepted_at]
    accepted_at = {event.id: event.accepted_at for event in events if event.accepted_at}
    by_event: dict[tuple[str, str], list[Message]] = {}
    for message in arrived:
        by_event.setdefault((message.destination, message.event), []).append(message)
    return Verdict(
        store=store.name,
        restarts=store.restarts,
        events=len(events),
        posts=sum((event.answers for event in events), Counter()),
        accepted=len(accepted),
        lost=[
            event.id for event in accepted if not _acted_on(event, arrived, accepted_at, sandbox)
        ],
        twice=[name for (_, name), found in by_event.items() if len(found) > 1],
        changed_id=[
            name
            for (_, name), found in by_event.items()
            if len({each.identifier for each in found}) > 1
        ],
        longest_refusal=max(
            (event.accepted_at - event.first_at for event in accepted if event.accepted_at),
            default=0.0,
        ),
        delays={
            destination: sorted(
                max(0.0, min(each.at for each in found) - event.accepted_at)
                for event in accepted
                if event.accepted_at and (found := by_event.get((destination, event.id)))
            )
            for destination in DESTINATIONS
        },
        **more,
    )


class Message(NamedTuple):
    """A message as the downstream got it; `identifier` is its `webhook-id`."""

    destination: str
    event: str
    item: str
    created: str
    identifier: str
    at: float


def _messages(sandbox: SandboxServer) -> list[Message]:
    found = []
    for destination in DESTINATIONS:
        for one in sandbox.received(destination):
            data = json.loads(one.body)["data"]
            [identifier] = (v for name, v in one.headers.items() if name.lower() == "webhook-id")
            event, item = data["event"]["id"], data["item"]["id"]
            created = data["snapshot"]["createdDate"]
            found.append(Message(destination, event, item, created, identifier, one.time))
    return found


def _acted_on(
    event: Sent,
    arrived: Sequence[Message],
    accepted_at: Mapping[str, float],
    sandbox: SandboxServer,
) -> bool:
    """Whether each destination got the publication or a later one of the item, or the variants
    exist. Later is what was published, or else accepted, later: the order of acceptance decides
    which publication is sent."""
    if event.name == SNAPSHOT_PUBLISHED:
        told = {
            message.destination
            for message in arrived
            if message.item == event.item
            and (
                message.created >= str(event.created)
                or accepted_at.get(message.event, 0.0) >= accepted_at[event.id]
            )
        }
        return told == set(DESTINATIONS)
    item = sandbox.state.item(event.item)
    made = {variant.locale for variant in sandbox.state.variants(item)}
    return {"fr-FR", "de-DE"} <= made
