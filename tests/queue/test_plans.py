"""How the databases go about each question that is asked often: by an index, whatever there is.

The statements are those of the running code: they are explained at the moment at which they are
sent. No time is measured here; `tools/benchmarks/growth.py` does that.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from sqlalchemy import Connection, event, insert, text

from app.db import Storage, driver
from app.db.tables import attempts, event_items, jobs, now_ms, sent_items, webhook_events
from app.events import instant
from app.queue import accept, claim, due_times, finish, pagination, prune, readiness, waiting_queues
from app.queue.alerts import Alert, find_alerts, was_raised_recently
from app.queue.claim import due_next
from app.queue.filters import STATES, EventFilter, JobFilter
from app.queue.history import done_lately, keep_history, last_day, last_hour, recent
from app.queue.job import refusals_of
from app.queue.limits import Limits
from app.queue.messages import keep_unless_newer
from app.queue.pagination import encode_cursor
from app.queue.search import (
    count_jobs,
    find_event,
    list_events,
    list_jobs,
    show_event,
    show_job,
)
from app.queue.stats import list_destinations, overview
from app.retry import Decision
from tests.queue.making import event as made_event
from tests.queue.making import forward_plan

Query = Callable[[Storage], object]
ROWS = 6_000
LANE = "forward:t"
DONE = Decision("succeeded", "succeeded")
DEAD_GROUP = JobFilter(state="dead", action="forward", target="t", reason="r")
# They hold few jobs, so that all of one may be read.
SMALL = {
    "jobs_active",
    "jobs_cancelled",
    "jobs_dead",
    "jobs_dead_groups",
    "jobs_due",
    "jobs_leases",
    "jobs_one_running",
}
# SQLite names a table by its alias.
_BIG = r"(webhook_events|event_items|jobs|attempts|sent_items|other)"


def state_of(number: int) -> str:
    if number > ROWS - 1500:
        return "waiting"
    rare = {0: "dead", 1: "cancelled", 2: "running", 3: "skipped", 4: "superseded"}
    return rare.get(number % 200, "succeeded")


def job_row(number: int, now: int) -> dict[str, Any]:
    state = state_of(number)
    return {
        "id": number,
        "event": number,
        "hub": "main",
        "rule": "r",
        "action": "forward",
        "target": "t" if number % 2 else "u",
        "lane": LANE if number % 2 else "forward:u",
        "key": f"k{number}",
        "version": 1,
        "args": {"item_id": f"i{number}"},
        "state": state,
        "reason": "r",
        "run_at": now + 3_600_000,
        "created_at": now - (ROWS - number) * 60_000,
        "finished_at": None if state in ("waiting", "running") else now - (ROWS - number) * 60_000,
        "lease_until": now + 60_000 if state == "running" else None,
    }


@pytest.fixture
def much(storage: Storage) -> Storage:
    """Enough rows that a planner prefers an index, and one a minute; a quarter of them waits."""
    some_event = {"hub": "main", "name": "n", "fingerprint": "f", "body": b"{}" * 500}
    numbers = range(1, ROWS + 1)
    with storage.write() as connection:
        now = connection.execute(now_ms().select()).scalar_one()
        received = {n: now - (ROWS - n) * 60_000 for n in numbers}
        rows = [
            some_event | {"id": n, "event_id": f"e{n}", "item_id": f"i{n}", "received_at": at}
            for n, at in received.items()
        ]
        connection.execute(insert(webhook_events), rows)
        connection.execute(insert(jobs), [job_row(n, now) for n in numbers])
        tries = [
            {"id": n, "job": n, "number": 1, "outcome": "succeeded", "finished_at": at}
            for n, at in received.items()
        ]
        connection.execute(insert(attempts), tries)
        its = {"destination": "t", "hub": "main", "version": 0, "kind": "published"}
        sent = [its | {"item_id": f"i{n}", "sent_at": at} for n, at in received.items()]
        connection.execute(insert(sent_items), sent)
        connection.execute(insert(event_items), [{"event": n, "item_id": f"o{n}"} for n in numbers])
        if not storage.is_sqlite:
            for table in ("webhook_events", "jobs", "attempts"):
                sequence = f"pg_get_serial_sequence('{table}', 'id')"
                connection.execute(text(f"SELECT setval({sequence}, {ROWS})"))
    if not storage.is_sqlite:
        # As autovacuum does. SQLite has no statistics: the service gathers none.
        with storage.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(
                text("VACUUM ANALYZE webhook_events, event_items, jobs, attempts, sent_items")
            )
    return storage


_numbers = itertools.count()


@contextmanager
def plans_of(storage: Storage) -> Iterator[list[tuple[str, str]]]:
    """Gathers each statement within the block, and how the database goes about it."""
    plans: list[tuple[str, str]] = []
    told_nobody = driver.run

    def explain(
        connection: Connection, _cursor: Any, statement: str, parameters: Any, _: Any, many: bool
    ) -> None:
        if many or not statement.lstrip().startswith(("SELECT", "WITH", "UPDATE", "DELETE")):
            return
        prefix = "EXPLAIN QUERY PLAN " if storage.is_sqlite else "EXPLAIN "
        raw = connection.connection.cursor()
        # An explanation does not see what another connection changed in the schema: a look does.
        # And the driver keeps by its text what it has prepared.
        raw.execute("SELECT count(*) FROM beats")
        raw.execute(f"{prefix}/* {next(_numbers)} */ {statement}", parameters)
        plans.append((statement, "\n".join(str(row[-1]) for row in raw.fetchall())))
        raw.close()

    def run(connection: Connection, statement: str, parameters: Any = ()) -> Any:
        explain(connection, None, statement, parameters, None, many=False)
        return told_nobody(connection, statement, parameters)

    event.listen(storage.engine, "before_cursor_execute", explain)
    with ExitStack() as patches:
        # What goes to the driver itself is not told to SQLAlchemy's listeners.
        for module in list(sys.modules.values()):
            if getattr(module, "run", None) is told_nobody:
                patches.enter_context(patch.object(module, "run", run))
        yield plans
    event.remove(storage.engine, "before_cursor_execute", explain)


def faults(storage: Storage, plan: str) -> list[str]:
    """The lines of a plan by which a whole table, or a whole index of one, is read."""
    found = []
    lines = plan.splitlines()
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if storage.is_sqlite:
            scan = re.search(rf"SCAN {_BIG}(?: USING (?:COVERING )?INDEX (\w+))?", line)
            if scan and scan[2] not in SMALL:
                found.append(line)
        elif re.search(rf"Seq Scan on {_BIG}", line):
            found.append(line)
        elif (scan := re.search(r"Index (?:Only )?Scan .*using (\w+) on", line)) and (
            "Cond:" not in after and scan[1] not in SMALL and "Filter:" in after
        ):
            # Walks in the order of an index until enough is found, which may be never.
            found.append(f"{line} {after}")
    return found


def dispatch(storage: Storage) -> None:
    accept(storage, [(made_event(), [forward_plan("new")]), (made_event(), [forward_plan("x")])])
    limits = {"forward:default": Limits("default", None, 16)}
    [job] = claim(storage, owner="w", wanted={"forward:default": 1}, limits=limits)
    due_next(storage, job, limit=8)
    assert keep_unless_newer(storage, job, body=b"{}", content_type="application/json")
    finish(storage, job, DONE)


def refusals(storage: Storage) -> None:
    accept(storage, [(made_event("refused"), [forward_plan("refused")])])
    [job] = claim(storage, owner="w", wanted={"forward:default": 1})
    assert refusals_of(storage, replace(job, failures=3)) == 0


def prune_some(storage: Storage) -> None:
    assert prune(storage, older_than_ms=(ROWS - 1_000) * 60_000, batch=5) == 5


# Each with the indexes that must lead it.
QUERIES: list[tuple[str, Query, set[str]]] = [
    ("dispatch", dispatch, {"jobs_active", "jobs_due"}),
    ("prune", prune_some, {"webhook_events_received", "jobs_event", "attempts_job"}),
    ("due", lambda of: due_times(of, [LANE, "forward:u"]), {"jobs_due"}),
    ("queues", waiting_queues, {"jobs_due"}),
    ("readiness", readiness, {"jobs_due"}),
    ("overview", overview, {"jobs_due", "jobs_dead_groups"}),
    ("destinations", lambda of: list_destinations(of, ["t"]), {"jobs_due", "jobs_dead_groups"}),
    ("recent", recent, {"jobs_finished"}),
    ("durations", lambda of: done_lately(of, last_ms=60_000), {"jobs_finished"}),
    ("hour", last_hour, {"jobs_finished", "webhook_events_received"}),
    ("day", last_day, {"jobs_finished", "webhook_events_received"}),
    ("history", keep_history, {"jobs_finished", "webhook_events_received"}),
    ("alerts", lambda of: find_alerts(of, oldest_waiting_ms=1), {"jobs_due"}),
    ("refusals", refusals, {"attempts_job"}),
    ("alert: known", lambda of: was_raised_recently(of, Alert("x", "y", "1")), set()),
    ("find", lambda of: find_event(of, "e2000"), set()),
    ("event", lambda of: show_event(of, 2001), {"jobs_event", "attempts_job"}),
    ("job", lambda of: show_job(of, 2000), {"attempts_job"}),
    ("dead: count", lambda of: count_jobs(of, DEAD_GROUP), {"jobs_dead_groups"}),
    ("dead: page", lambda of: list_jobs(of, DEAD_GROUP, limit=20), {"jobs_dead_groups"}),
    ("events: id", lambda of: list_events(of, EventFilter(event_id="e2000")), {"jobs_event"}),
    ("events: item", lambda of: events(of, item_id="i2000"), {"webhook_events_item"}),
    ("events: deep", lambda of: list_events(of, cursor=encode_cursor(2000)), {"jobs_event"}),
    ("events: label", lambda of: events(of, label="x"), set()),
    ("events: schema", lambda of: events(of, schema="x"), set()),
    ("events: hub", lambda of: events(of, hub="main"), set()),
    ("events: hub, none", lambda of: events(of, hub="x"), set()),
    ("events: name", lambda of: events(of, name="x"), set()),
    ("events: label, state", lambda of: events(of, label="x", state="skipped"), set()),
    ("events: span", lambda of: events(of, received_to=instant(1 << 41)), set()),
    *(
        (f"events: {state}", lambda of, state=state: events(of, state=state), set())
        for state in STATES
    ),
    ("events: skipped", lambda of: events(of, state="skipped"), {"jobs_ended"}),
    ("events: target", lambda of: events(of, target="t"), {"jobs_ended"}),
    ("events: both", lambda of: events(of, target="t", state="skipped"), {"jobs_ended"}),
    ("jobs: deep", lambda of: list_jobs(of, cursor=encode_cursor(2000)), set()),
    ("jobs: item", lambda of: list_jobs(of, JobFilter(item_id="i2000")), {"webhook_events_item"}),
    ("events: other item", lambda of: events(of, item_id="other"), {"event_items_item"}),
    (
        "jobs: other item",
        lambda of: list_jobs(of, JobFilter(item_id="other")),
        {"event_items_item"},
    ),
    ("jobs: event", lambda of: list_jobs(of, JobFilter(event=2000)), {"jobs_event"}),
    ("jobs: target", lambda of: list_jobs(of, JobFilter(target="x")), set()),
    *(
        (f"jobs: {state}", lambda of, state=state: list_jobs(of, JobFilter(state=state)), set())
        for state in STATES
    ),
    ("jobs: cancelled", lambda of: list_jobs(of, JobFilter(state="cancelled")), {"jobs_cancelled"}),
]


def events(storage: Storage, **wanted: Any) -> object:
    return list_events(storage, EventFilter(**wanted))


def wrong_with(storage: Storage, query: Query, leading: set[str]) -> list[str]:
    with plans_of(storage) as plans:
        query(storage)
    assert plans
    found = [
        f"{line} <- {statement}" for statement, plan in plans for line in faults(storage, plan)
    ]
    together = "\n".join(plan for _, plan in plans)
    missed = [name for name in sorted(leading) if not re.search(rf"\b{name}\b", together)]
    return found + [f"{name} is not used:\n{together}" for name in missed]


def test_no_question_reads_a_whole_table(much: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    # In proportion: a window that is most of the table is best read as the table.
    monkeypatch.setattr(pagination, "_WINDOW", 100)
    wrong = {name: found for name, query, led in QUERIES if (found := wrong_with(much, query, led))}
    assert not wrong, "\n".join(line for found in wrong.values() for line in found)


def test_claim_does_not_walk_past_the_jobs_that_wait_for_later(much: Storage) -> None:
    with plans_of(much) as plans:
        assert claim(much, owner="w", wanted={LANE: 1}) == []
    [plan] = [plan for statement, plan in plans if "losses <" in statement]
    if much.is_sqlite:
        assert "INDEX jobs_due (lane=? AND run_at<?)" in plan
    else:
        assert re.search(r"using jobs_due on .*\n *Index Cond: .*run_at <=", plan)


def test_keys_of_new_jobs_are_looked_up_by_key_in_a_table_that_has_just_filled(
    storage: Storage,
) -> None:
    """PostgreSQL knows nothing of such a table, and another index holds all that waits as well."""
    accept(storage, [(made_event(), [forward_plan(f"key {number}")]) for number in range(200)])
    with plans_of(storage) as plans:
        accept(storage, [(made_event(), [forward_plan("new")])])
    together = "\n".join(plan for _, plan in plans)
    assert "jobs_active" in together
    assert "jobs_due" not in together


def test_an_index_that_is_gone_is_missed(much: Storage) -> None:
    led = {name for _, _, names in QUERIES for name in names}
    for index in (
        index for table in (webhook_events, event_items, jobs, attempts) for index in table.indexes
    ):
        if index.name not in led:
            continue
        with much.write() as connection:
            index.drop(connection)
        of_it = [(query, names) for _, query, names in QUERIES if index.name in names]
        assert all(wrong_with(much, query, names) for query, names in of_it), index.name
        with much.write() as connection:
            index.create(connection)
