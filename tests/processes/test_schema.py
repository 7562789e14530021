"""Processes and the database's schema: a wrong one is refused, and jobs survive its upgrade."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

from app import db
from app.db import Storage
from app.db.migrate import current_revision
from app.db.tables import SCHEMA_REVISION, now_ms
from sandbox import SandboxServer
from tests.processes.conftest import MakeItems
from tests.processes.running import (
    SERVE,
    WORKER,
    Running,
    outcomes,
    snapshot_body,
)
from tests.processes.trials import trial
from tests.relay import environment

FIRST = "0001"
WAITS = 1_500


def make_first_schema(url: str) -> None:
    """Make the tables as the first version of the service had them."""
    config = Config()
    place = Path(db.__file__).parent.parent / "migrations"
    config.set_main_option("script_location", str(place))
    config.attributes["configure_logger"] = False
    storage = Storage(url)
    with storage.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, FIRST)
    storage.close()


def insert_waiting_job(storage: Storage, item: str) -> None:
    """Write what the first version would have written: a job that is tried again in a while."""
    with storage.write() as connection:
        now = connection.execute(now_ms().select()).scalar_one()
        values = {"item": item, "body": snapshot_body(item, "event-1"), "now": now}
        connection.execute(
            text(
                "INSERT INTO webhook_events (id, hub, event_id, name, fingerprint, item_id,"
                " snapshot_id, body, received_at) VALUES (1, 'main', 'event-1',"
                " 'dynamic-content.snapshot.published', 'f', :item, 's', :body, :now)"
            ),
            values,
        )
        connection.execute(
            text(
                "INSERT INTO jobs (id, event, hub, rule, action, target, lane, key, version, args,"
                " state, reason, run_at, attempts, failures, created_at) VALUES (1, 1, 'main',"
                " 'forward', 'forward', 'default', 'forward:default', :key, 1, :args, 'waiting',"
                " 'destination-unavailable', :run_at, 1, 1, :now)"
            ),
            {
                **values,
                "key": f"forward:default:main:{item}",
                "args": json.dumps(
                    {"item_id": item, "depth": "all", "format": "inlined", "locale": None}
                ),
                "run_at": now + WAITS,
            },
        )


def set_revision(url: str, revision: str) -> None:
    storage = Storage(url)
    with storage.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})
    storage.close()


def test_job_that_waits_for_its_time_survives_the_upgrade_from_the_first_schema(
    sandbox: SandboxServer, make_items: MakeItems, empty_database_url: str, tmp_path: Path
) -> None:
    [item] = make_items(1)
    make_first_schema(empty_database_url)
    with trial(sandbox, empty_database_url, tmp_path) as at:
        insert_waiting_job(at.storage, item)
        begun = time.monotonic()
        upgrade = subprocess.run(
            (sys.executable, "-m", "app", "db", "upgrade"),
            env=at.environ,
            cwd=at.directory,
            capture_output=True,
            text=True,
            check=False,
        )
        assert upgrade.returncode == 0, upgrade.stderr
        assert current_revision(at.storage) == SCHEMA_REVISION
        with at.worker():
            at.await_all("succeeded", 10)
        assert time.monotonic() - begun > WAITS / 1000 - 0.2
        assert outcomes(at.storage, 1) == ["succeeded"]
        assert list(at.downstream.identifiers) == [item]


@pytest.mark.parametrize(
    ("revision", "words"),
    [(FIRST, "run `dc-relay db upgrade`"), ("9999", "run the newer dc-relay")],
)
def test_nothing_starts_on_a_schema_that_is_not_its_own(
    sandbox: SandboxServer, empty_sqlite_url: str, tmp_path: Path, revision: str, words: str
) -> None:
    make_first_schema(empty_sqlite_url)
    set_revision(empty_sqlite_url, revision)

    def start(arguments: tuple[str, ...]) -> Running:
        running = Running(arguments, environment(sandbox, empty_sqlite_url), tmp_path)
        try:
            assert running.ended() == 1
        finally:
            running.end()
        return running

    with ThreadPoolExecutor() as threads:
        for running in threads.map(start, (SERVE, WORKER)):
            assert words in running.log
            assert "Traceback" not in running.log
            assert "child.started" not in running.log
