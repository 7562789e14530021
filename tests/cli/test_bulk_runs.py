"""Long commands: they can be stopped and taken up, tried dry, and say how they ended."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest
from sqlalchemy import func, select

from app.db import Storage, upgrade_schema
from app.db.tables import bulk_runs, jobs, webhook_events
from sandbox import SandboxServer
from tests.cli.conftest import bare_environment, invoke
from tests.cli.longrun import (
    AT_ONCE,
    BANNER,
    archive,
    calls,
    create,
    publish,
    restored_logging,
    summary,
)
from tests.relay import environment, eventually, running

pytestmark = pytest.mark.usefixtures(restored_logging.__name__)

LOCALIZE = ("localize", "--schema", BANNER)
RESYNC = ("resync", "--to", "default", "--schema", BANNER, *AT_ONCE)


@pytest.fixture
def storage(sqlite_url: str) -> Iterator[Storage]:
    opened = Storage(sqlite_url)
    upgrade_schema(opened)
    yield opened
    opened.close()


@pytest.fixture
def environ(sandbox: SandboxServer, storage: Storage, sqlite_url: str) -> dict[str, str]:
    return environment(sandbox, sqlite_url)


def rows(storage: Storage) -> tuple[int, int, int]:
    """How many runs, events and jobs there are."""
    with storage.read() as connection:
        tables = (bulk_runs, webhook_events, jobs)
        counts = [
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in tables
        ]
    return counts[0], counts[1], counts[2]


def started(*arguments: str, env: dict[str, str]) -> subprocess.Popen[str]:
    """Start a command as a terminal does: a shell's background job would ignore Ctrl-C."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "app", *arguments],
            env={**bare_environment(), **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, previous)


def test_killed_command_goes_on_and_each_item_is_done_once(
    sandbox: SandboxServer, environ: dict[str, str], storage: Storage
) -> None:
    items = create(sandbox, 26)
    publish(sandbox, *items)
    sandbox.faults.add(where="fresh", kind="delay", path="/content/filter", seconds=0.2)
    command = started(*RESYNC, env=environ)
    assert eventually(lambda: rows(storage)[1] >= 12, 10)
    command.kill()
    command.communicate()
    assert 12 <= rows(storage)[1] < 26
    with running(environ):
        found = summary(*RESYNC, env=environ)
    assert (found["resumed"], found["items"], found["jobs"]) == (True, 26, {"succeeded": 26})
    sent = [json.loads(one.body)["data"]["item"]["id"] for one in sandbox.received("default")]
    assert sorted(sent) == sorted(items)
    assert rows(storage) == (1, 26, 26)


def test_interrupt_stops_the_command_and_not_the_jobs(
    sandbox: SandboxServer, environ: dict[str, str], storage: Storage
) -> None:
    [item] = create(sandbox)
    sandbox.faults.add(where="management", kind="delay", path="/localizations", seconds=4, times=1)
    with running(environ) as relay:
        command = started(*LOCALIZE, *AT_ONCE, env=environ)
        assert eventually(lambda: relay.counts().jobs == {"running": 1}, 10)
        time.sleep(0.5)  # until it watches
        command.send_signal(signal.SIGINT)
        told, error = command.communicate(timeout=10)
        assert (command.returncode, "Stopped." in error) == (3, True)
        assert "Run the same command again to go on." in told
        found = summary(*LOCALIZE, *AT_ONCE, env=environ)
    assert (found["resumed"], found["jobs"]) == (True, {"succeeded": 1})
    assert calls(sandbox, "localize") == [item]


def test_listing_that_breaks_off_goes_on_with_the_next_command(
    sandbox: SandboxServer, environ: dict[str, str]
) -> None:
    create(sandbox, 2)
    sandbox.faults.add(where="management", kind="status", status=503, path="facet", times=1)
    sandbox.faults.add(where="management", kind="status", status=400, path="facet", times=1)
    with running(environ):
        broken = invoke(*LOCALIZE, *AT_ONCE, env=environ)
        assert (broken.exit_code, broken.stdout) == (1, "")
        found = summary(*LOCALIZE, *AT_ONCE, env=environ)
    assert (found["resumed"], found["jobs"]) == (True, {"succeeded": 2})


def test_finished_run_is_not_taken_up_again(
    sandbox: SandboxServer, environ: dict[str, str], storage: Storage
) -> None:
    [item] = create(sandbox)
    with running(environ):
        for _ in range(2):
            found = summary(*LOCALIZE, *AT_ONCE, env=environ)
            assert (found["resumed"], found["jobs"]) == (False, {"succeeded": 1})
    assert rows(storage) == (2, 2, 2)
    assert calls(sandbox, "localize") == [item]


def test_restart_begins_anew(
    sandbox: SandboxServer, environ: dict[str, str], storage: Storage
) -> None:
    create(sandbox)
    first = summary(*LOCALIZE, env=environ, exit_code=3)
    second = summary(*LOCALIZE, "--restart", env=environ, exit_code=3)
    assert first["run"] != second["run"]
    assert not second["resumed"]
    assert rows(storage) == (2, 2, 2)


def test_without_a_worker_the_command_says_so_and_keeps_the_jobs(
    sandbox: SandboxServer, environ: dict[str, str], storage: Storage
) -> None:
    create(sandbox, 2)
    result = invoke(*LOCALIZE, env=environ)
    assert result.exit_code == 3
    assert "No worker runs" in result.stderr
    assert "0 of 2 jobs have ended: 2 waiting" in result.stdout
    assert rows(storage) == (1, 2, 2)


def test_timeout_ends_the_command_with_3(sandbox: SandboxServer, environ: dict[str, str]) -> None:
    create(sandbox)
    sandbox.faults.add(where="management", kind="status", status=503, path="/localizations")
    with running(environ):
        result = invoke(*LOCALIZE, *AT_ONCE, "--timeout", "0.2", env=environ)
    assert (result.exit_code, "Not done within 0.2 s." in result.stderr) == (3, True)


def test_dead_job_ends_the_command_with_1_and_is_named(
    sandbox: SandboxServer, environ: dict[str, str]
) -> None:
    good, bad = create(sandbox, 2)
    sandbox.faults.add(where="management", kind="status", status=400, path=f"{bad}/localize")
    sandbox.faults.add(where="management", kind="status", status=400, path=f"{bad}/localize")
    with running(environ):
        result = invoke(*LOCALIZE, *AT_ONCE, env=environ)
        assert result.exit_code == 1
        assert f"dead for amplience-refused: 1, such as {bad}" in result.stdout
        # Done all the same: another command begins a new run.
        sandbox.faults.clear()
        assert summary(*LOCALIZE, *AT_ONCE, env=environ)["jobs"] == {"succeeded": 2}
    assert calls(sandbox, "localize").count(good) == 1


@pytest.mark.parametrize("as_json", [True, False])
def test_dry_run_lists_and_writes_nothing(
    sandbox: SandboxServer, environ: dict[str, str], storage: Storage, as_json: bool
) -> None:
    first, second = create(sandbox, 2)
    publish(sandbox, first, second)
    archive(sandbox, first)
    more = ("--json",) if as_json else ()
    result = invoke("unpublish-archived", "--dry-run", *more, env=environ)
    assert result.exit_code == 0
    if as_json:
        [item] = json.loads(result.stdout)["items"]
        assert (item["verb"], item["id"], item["schema"]) == ("unpublish", first, BANNER)
    else:
        line, total = result.stdout.splitlines()
        assert line == f"unpublish {first}  en-GB  {BANNER}  Item 0"
        assert total == "1 items; nothing was changed."
    assert rows(storage) == (0, 0, 0)
    assert not calls(sandbox, "unpublish")


def test_items_come_due_one_after_the_other(
    sandbox: SandboxServer, environ: dict[str, str], storage: Storage
) -> None:
    create(sandbox, 5)
    invoke(*LOCALIZE, "--per-minute", "6", env=environ)
    with storage.read() as connection:
        due = connection.execute(select(jobs.c.run_at).order_by(jobs.c.run_at)).scalars().all()
    gaps = [(late - early) / 1000 for early, late in pairwise(due)]
    assert gaps == [pytest.approx(10, abs=0.2)] * 4


def test_nothing_to_do_is_done(environ: dict[str, str]) -> None:
    result = invoke("unpublish-archived", env=environ)
    assert (result.exit_code, "nothing to do" in result.stdout) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("localize",), "Which items?"),
        (("localize", "--item", "../hubs"), "that is no id"),
        (("localize", "--schema", "*", "--hub", "outlet"), "There is: main."),
        (("unpublish-archived", "--to", "nowhere"), "There is: default."),
    ],
)
def test_wrong_choice_is_a_usage_error(
    environ: dict[str, str], arguments: tuple[str, ...], says: str
) -> None:
    result = invoke(*arguments, env=environ)
    assert (result.exit_code, says in result.stderr) == (2, True), result.output


def test_locales_must_be_given_where_no_rule_has_them(environ: dict[str, str]) -> None:
    environ = {**environ, "LOCALIZE_LOCALES": "", "LOCALIZE_SOURCE_LOCALE": ""}
    result = invoke(*LOCALIZE, env=environ)
    assert (result.exit_code, "no localize rule" in result.stderr) == (2, True)


def test_faulty_configuration_ends_with_2() -> None:
    assert invoke(*LOCALIZE).exit_code == 2
