"""Rows that hold what no code of ours writes: by hand, an older release, or a broken disk.

SQLite keeps any kind of value in any column; PostgreSQL the extremes of a column's type. Whatever a
row holds, the worker goes on, and every list, page and answer shows the others.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from sqlalchemy import JSON, BigInteger, Column, Integer, LargeBinary, Table, select, text
from sqlalchemy.exc import DBAPIError

from app.bootstrap import WebLedger
from app.cli import main
from app.db import Storage
from app.db.tables import attempts, jobs, marks, webhook_events
from app.errors import StorageUnavailable
from app.queue import Job, accept, claim, due_times, finish, readiness
from app.queue.history import keep_history
from app.queue.operator import retry_job
from app.queue.search import find_event
from app.retry import Decision
from app.web import create_app
from tests.browser.scene import TOKEN, scene_settings
from tests.queue.making import event, forward_plan
from tests.web.conftest import Services
from tests.web.test_dashboard import sign_in

LANE = "forward:default"
YEAR_10000 = 253_402_300_800_000
# No value of these can be another one without the row being another row.
_KEPT = {"id", "event", "job"}


def hostile_values(column: Column[Any], *, sqlite: bool) -> Iterator[Any]:
    anything = ["words", b"\xff\x00", 1e300, -7] if sqlite else []
    if isinstance(column.type, JSON):
        yield from ("[]", '"words"', "1", "null", '{"item_id": 7}', "[" * 900 + "]" * 900)
        yield from [*anything, "{", "[" * 200_000] if sqlite else []
    elif isinstance(column.type, BigInteger):
        yield from (YEAR_10000, -YEAR_10000, (1 << 63) - 1, -(1 << 63), *anything)
    elif isinstance(column.type, Integer):
        yield from ((1 << 31) - 1, -(1 << 31), *anything)
    elif not isinstance(column.type, LargeBinary):
        yield from ("", "\x1b[2J", *(anything[1:]))


def put(storage: Storage, table: Table, where: int, column: Column[Any], value: Any) -> bool:
    """Write the value past all of our code; whether the database took it."""
    place = ":value"
    if isinstance(column.type, JSON) and not storage.is_sqlite:
        place = "CAST(:value AS json)"
    its_id = "job" if table is attempts else "id"
    statement = f"UPDATE {table.name} SET {column.name} = {place} WHERE {its_id} = :id"  # noqa: S608
    try:
        with storage.write() as connection:
            connection.execute(text(statement), {"value": value, "id": where})
    except (DBAPIError, StorageUnavailable):
        return False
    return True


def fill(storage: Storage, table: Table) -> dict[int, str]:
    """A job for each column and hostile value; by its id, what is wrong with it."""
    made: dict[int, str] = {}
    for column in table.c:
        if column.name in _KEPT:
            continue
        for number, value in enumerate(hostile_values(column, sqlite=storage.is_sqlite)):
            item = f"{table.name}.{column.name}.{number}"
            accept(storage, [(event(item), [forward_plan(item)])])
            event_row = find_event(storage, item)
            with storage.read() as connection:
                job = connection.execute(select(jobs.c.id).where(jobs.c.event == event_row))
                identifier = job.scalar_one()
            where = {webhook_events: event_row, jobs: identifier}.get(table)
            if where is not None and put(storage, table, where, column, value):
                made[identifier] = f"{item} = {value!r:.60}"
    assert len(made) > 20
    return made


def claim_all(storage: Storage) -> list[Job]:
    """All that can be claimed, as a worker asks: by when the queues are due, until nothing is."""
    found: list[Job] = []
    now, due = due_times(storage, [LANE])
    assert due[LANE] <= now
    while taken := claim(storage, owner="w", wanted={LANE: 500}):
        found += taken
    return found


def signed_in(storage: Storage) -> FlaskClient:
    settings = scene_settings()
    client = create_app(Services(settings, WebLedger(storage), storage)).test_client()
    assert sign_in(client).status_code == 303
    return client


def wrong_answers(storage: Storage, identifiers: Iterator[int]) -> list[str]:
    """The pages and answers of the API that fail, of lists and of each of these jobs."""
    client = signed_in(storage)
    paths = ["/", "/events", "/dead", "/destinations", "/metrics", "/readyz"]
    paths += [f"/api/v1{path}" for path in ("/status", "/events", "/jobs", "/destinations")]
    paths += ["/api/v1/jobs?limit=200", "/api/v1/events?limit=200", "/api/v1/jobs?state=dead"]
    paths += ["/api/v1/jobs?item_id=healthy", "/api/v1/events?item_id=healthy"]
    with storage.read() as connection:
        known = select(jobs.c.id, jobs.c.event).where(jobs.c.id.in_(list(identifiers)))
        for identifier, event_row in connection.execute(known):
            paths += [f"/api/v1/jobs/{identifier}", f"/api/v1/events/{event_row}"]
            paths += [f"/events/{event_row}", f"/jobs/{identifier}"]
    found = []
    for path in paths:
        answer = client.get(path, headers={"Authorization": f"Bearer {TOKEN}"})
        if answer.status_code not in (200, 302, 303, 308) and path != "/readyz":
            found.append(f"{path}: {answer.status_code} {answer.text[:200]}")
    return found


@pytest.mark.parametrize("table", [jobs, webhook_events], ids=["jobs", "events"])
def test_no_row_stops_the_worker_a_list_or_a_page(storage: Storage, table: Table) -> None:
    hostile = fill(storage, table)
    accept(storage, [(event("healthy", item_id="healthy"), [forward_plan("healthy")])])
    assert wrong_answers(storage, iter(hostile)) == []
    claimed = claim_all(storage)
    assert "healthy" in [job.args.get("item_id") for job in claimed]
    for job in claimed:
        finish(storage, job, Decision("dead", "failed", "destination-refused"))
    assert wrong_answers(storage, iter(hostile)) == []
    keep_history(storage)
    readiness(storage)


def hostile_job(storage: Storage, table: Table, column: str, value: Any) -> int:
    accept(storage, [(event("hostile"), [forward_plan("hostile")])])
    with storage.read() as connection:
        identifier, event_row = connection.execute(select(jobs.c.id, jobs.c.event)).one()
    where = identifier if table is jobs else event_row
    assert put(storage, table, where, table.c[column], value)
    return int(identifier)


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        (webhook_events, "received_at", -(1 << 63)),
        (jobs, "created_at", (1 << 63) - 1),
        (jobs, "args", "[]"),
        (jobs, "args", '"words"'),
        (jobs, "progress", "7"),
    ],
)
def test_job_that_cannot_be_read_is_dead_with_its_reason(
    storage: Storage, table: Table, column: str, value: Any
) -> None:
    identifier = hostile_job(storage, table, column, value)
    assert claim(storage, owner="w", wanted={LANE: 5}) == []
    client = signed_in(storage)
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    told = client.get(f"/api/v1/jobs/{identifier}", headers=bearer).get_json()
    assert (told["state"], told["reason"], told["owner"]) == ("dead", "unreadable", None)
    assert column in told["message"]
    [tried] = told["history"]
    assert (tried["number"], tried["outcome"], tried["reason"]) == (1, "failed", "unreadable")
    assert "unreadable" in client.get("/dead").text


def test_job_of_a_snapshot_whose_stored_date_cannot_be_is_done(storage: Storage) -> None:
    """As an older release stored it: 9999-12-31T23:59:59.9999999Z, rounded up."""
    hostile_job(storage, webhook_events, "snapshot_created", YEAR_10000)
    [job] = claim(storage, owner="w", wanted={LANE: 5})
    assert job.snapshot_created is None


def test_an_unreadable_job_that_is_retried_is_dead_again_and_others_go_on(
    storage: Storage,
) -> None:
    identifier = hostile_job(storage, jobs, "args", "[]")
    assert claim(storage, owner="w", wanted={LANE: 5}) == []
    assert retry_job(storage, identifier) == "waiting"
    accept(storage, [(event(), [forward_plan("healthy")])])
    [job] = claim(storage, owner="w", wanted={LANE: 5})
    assert job.args["item_id"] == "healthy"


@pytest.mark.parametrize("kept", ['"words"', '{"until": "x"}', '{"until": 1, "minutes": [7]}'])
def test_history_that_cannot_be_read_is_counted_anew(storage: Storage, kept: str) -> None:
    accept(storage, [(event(), [])])
    keep_history(storage)
    assert put_mark(storage, kept)
    assert "1 event came in" in signed_in(storage).get("/").text
    keep_history(storage)


def put_mark(storage: Storage, value: str) -> bool:
    place = ":value" if storage.is_sqlite else "CAST(:value AS json)"
    with storage.write() as connection:
        statement = text(f"UPDATE {marks.name} SET value = {place} WHERE name = 'history'")  # noqa: S608
        return connection.execute(statement, {"value": value}).rowcount == 1


def test_commands_show_hostile_rows(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    identifier = hostile_job(storage, webhook_events, "received_at", YEAR_10000)
    assert put(storage, jobs, identifier, jobs.c.run_at, YEAR_10000)
    assert claim(storage, owner="w", wanted={LANE: 5}) == []
    assert put(storage, jobs, identifier, jobs.c.run_at, 0)
    assert claim(storage, owner="w", wanted={LANE: 5}) == []
    assert put(storage, attempts, identifier, attempts.c.finished_at, YEAR_10000)
    monkeypatch.chdir(tmp_path)
    environ = {
        "DATABASE_URL": storage.url.set(
            drivername="sqlite" if storage.is_sqlite else "postgresql"
        ).render_as_string(hide_password=False),
        "WEBHOOK_SECRET": "s",
    }
    for words in (
        ["events", "list"],
        ["events", "list", "--json"],
        ["events", "show", "hostile"],
        ["jobs", "list"],
        ["jobs", "show", str(identifier)],
        ["jobs", "show", str(identifier), "--json"],
    ):
        result = CliRunner().invoke(main, words, env=environ)
        assert result.exit_code == 0, (words, result.output, result.exception)
        if "--json" in words:
            json.loads(result.stdout)
