from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.advice import REASONS
from app.cli import main
from app.db import Storage, upgrade_schema
from app.queue import accept, claim, finish
from app.queue.search import find_event
from app.retry import Decision
from tests.builders import make_body, make_event
from tests.queue.making import forward_plan
from tests.servers import Reply, ScriptedServer

SNAPSHOT = "dynamic-content.snapshot.published"
Run = Callable[..., Result]


@pytest.fixture
def storage(sqlite_url: str) -> Iterator[Storage]:
    """One dead event, one that waits, one that no rule wanted."""
    opened = Storage(sqlite_url)
    upgrade_schema(opened)
    first = [forward_plan("a", rule="forward")]
    accept(opened, [(make_event(SNAPSHOT, event_id="dead-one"), first)])
    [job] = claim(opened, owner="w", wanted={"forward:default": 1})
    finish(opened, job, Decision("dead", "failed", "destination-refused", "answered 404"))
    waiting = [forward_plan("b", rule="forward")]
    accept(opened, [(make_event(SNAPSHOT, event_id="waiting-one"), waiting)])
    accept(opened, [(make_event(event_id="ignored-one"), [])])
    yield opened
    opened.close()


@pytest.fixture
def run(storage: Storage, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command of the service with that database."""
    monkeypatch.chdir(tmp_path)
    environ = {
        "DATABASE_URL": sqlite_url,
        "WEBHOOK_SECRET": "s",
        "AMPLIENCE_HUB_NAME": "example-hub",
        "FORWARD_URL": "http://127.0.0.1:9/",
        "FORWARD_ALLOW_PRIVATE": "1",
    }

    def run(*words: str, **more: str) -> Result:
        return CliRunner().invoke(main, words, env={**environ, **more})

    return run


def answer(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_list_shows_events_with_their_jobs_newest_first(run: Run) -> None:
    lines = run("events", "list").stdout.splitlines()
    assert lines[0].split()[:4] == ["ID", "RECEIVED", "HUB", "NAME"]
    assert [line.split()[-1] for line in lines[1:]] == ["ignored-one", "waiting-one", "dead-one"]
    assert "1 dead" in lines[3]


def test_list_is_filtered_and_goes_on(run: Run) -> None:
    found = answer(run("events", "list", "--state", "dead", "--json"))
    assert [event["event_id"] for event in found["events"]] == ["dead-one"]
    assert found["next"] is None
    first = run("events", "list", "--limit", "2").stdout
    cursor = first.split("--cursor ")[1].strip()
    assert "dead-one" in run("events", "list", "--cursor", cursor).stdout
    assert run("events", "list", "--label", "no such label").stdout == "none\n"
    assert run("events", "list", "--cursor", "nonsense").exit_code == 2


def test_show_tells_the_story_by_either_id(run: Run, storage: Storage) -> None:
    number = str(find_event(storage, "dead-one"))
    by_id, by_number = run("events", "show", "dead-one"), run("events", "show", number)
    assert by_id.stdout == by_number.stdout
    assert "forward at default: dead" in by_id.stdout
    assert "attempt 1" in by_id.stdout
    assert "failed destination-refused answered 404" in by_id.stdout
    assert answer(run("events", "show", "dead-one", "--json"))["states"] == {"dead": 1}
    assert "dc-relay explain" in run("events", "show", "ignored-one").stdout


def test_show_of_an_unknown_event_says_so(run: Run) -> None:
    result = run("events", "show", "nobody")
    assert result.exit_code == 1
    assert "event-unknown" in result.output


def test_replay_of_one_makes_a_job(run: Run) -> None:
    done = answer(run("events", "replay", "dead-one", "--json"))
    assert len(done["made"]) == 1
    assert "was waiting or running already" in run("events", "replay", "dead-one").stdout
    assert "No rule of today wants it" in run("events", "replay", "ignored-one").stdout


def test_replay_of_many_counts_until_told_yes(run: Run) -> None:
    assert "1 event would be replayed" in run("events", "replay", "--state", "dead").stdout
    assert answer(run("events", "list", "--state", "dead", "--json"))["events"]
    done = answer(run("events", "replay", "--state", "dead", "--yes", "--json"))
    assert done == {"dry_run": False, "events": 1, "jobs": 1, "active": 0, "refused": {}}
    assert answer(run("events", "list", "--state", "dead", "--json"))["events"] == []


@pytest.mark.parametrize("words", [(), ("dead-one", "--state", "dead")])
def test_replay_wants_one_event_or_a_filter(run: Run, words: tuple[str, ...]) -> None:
    assert run("events", "replay", *words).exit_code == 2


def test_jobs_are_listed_retried_and_cancelled(run: Run) -> None:
    assert "destination-refused" in run("jobs", "list", "--state", "dead").stdout
    [job] = answer(run("jobs", "list", "--state", "dead", "--json"))["jobs"]
    number = str(job["id"])
    assert run("jobs", "retry", number).stdout == f"job {number}: waiting\n"
    assert answer(run("jobs", "cancel", number, "--json"))[0]["state"] == "cancelled"
    again = run("jobs", "cancel", number)
    assert again.exit_code == 1
    assert "job-done" in again.output


def test_job_is_shown_with_why_and_what_to_do(run: Run) -> None:
    [job] = answer(run("jobs", "list", "--state", "dead", "--json"))["jobs"]
    said = run("jobs", "show", str(job["id"])).stdout
    assert "forward at default: dead" in said
    assert f"it means    {REASONS['destination-refused'].meaning}" in said
    assert f"what to do  {REASONS['destination-refused'].todo}" in said
    assert "attempt 1" in said
    shown = answer(run("jobs", "show", str(job["id"]), "--json"))
    assert [attempt["outcome"] for attempt in shown["history"]] == ["failed"]
    assert run("jobs", "show", "999").exit_code == 1


def test_retry_of_many_takes_dead_ones_unless_told_otherwise(run: Run) -> None:
    assert "1 job would be retried" in run("jobs", "retry", "--target", "default").stdout
    done = answer(run("jobs", "retry", "--target", "default", "--yes", "--json"))
    assert (done["jobs"], done["superseded"], done["refused"]) == (1, 0, {})
    assert run("jobs", "retry").exit_code == 2
    assert run("jobs", "retry", "1", "--state", "dead").exit_code == 2


def test_destinations_are_paused_and_resumed(run: Run) -> None:
    assert run("destinations", "pause", "default", "--reason", "moving house").exit_code == 0
    assert "paused (moving house)" in run("destinations", "list").stdout
    assert run("destinations", "resume", "default").exit_code == 0
    paused = answer(run("destinations", "pause", "default", "--json"))
    assert (paused["name"], paused["paused_reason"]) == ("default", "by-hand")
    assert answer(run("destinations", "resume", "default", "--json"))["paused_at"] is None
    [shown] = answer(run("destinations", "list", "--json"))["destinations"]
    assert (shown["paused_at"], shown["waiting"], shown["dead"]) == (None, 1, 1)
    assert "There is: default" in run("destinations", "pause", "nowhere").output


def test_what_was_sent_of_an_item_is_forgotten(run: Run, storage: Storage) -> None:
    [job] = claim(storage, owner="w", wanted={"forward:default": 1})
    finish(storage, job, Decision("succeeded", "succeeded"))
    assert "whatever its version" in run("destinations", "forget", "default", "b").output
    assert "Nothing is recorded" in run("destinations", "forget", "default", "b").output
    told = answer(run("destinations", "forget", "default", "b", "--json"))
    assert told == {"destination": "default", "item": "b", "forgotten": 0}


def test_destination_is_tested_and_its_answer_decides_the_exit(run: Run) -> None:
    replies = iter([Reply(200, b"thanks"), Reply(503)])
    server = ScriptedServer(lambda _: next(replies))
    good = run("destinations", "test", "default", FORWARD_URL=server.url)
    bad = run("destinations", "test", "default", "--json", FORWARD_URL=server.url)
    server.close()
    assert (good.exit_code, "default accepted it: 200" in good.stdout) == (0, True)
    assert (bad.exit_code, json.loads(bad.stdout)["status"]) == (1, 503)
    assert server.received[0].json["type"] == "dc-relay.test"


def test_explain_takes_a_file_a_sample_or_a_received_event(run: Run, tmp_path: Path) -> None:
    (tmp_path / "body.json").write_bytes(make_body(SNAPSHOT))
    for written in ("body.json", "snapshot.published", "dead-one"):
        assert "yes  forward: forward at default" in run("explain", written).stdout
    refused = run("explain", "content-item.created").stdout
    assert (
        "no   forward: it needs that name is one of dynamic-content.snapshot.published;"
        " here it is 'dynamic-content.content-item.created'"
    ) in refused
    assert answer(run("explain", "dead-one", "--json"))["plans"][0]["target"] == "default"


def test_explain_says_what_is_wrong_with_a_body(run: Run, tmp_path: Path) -> None:
    (tmp_path / "body.json").write_text("{}")
    result = run("explain", "body.json")
    assert result.exit_code == 1
    assert "envelope-missing" in result.output
