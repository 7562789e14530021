"""Long commands in the ledger: a run is found again, and knows its own jobs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from app.db import Storage
from app.events import WebhookEvent
from app.queue.bulk import (
    ORIGIN,
    BulkRun,
    accept_for_run,
    close_run,
    dead_items,
    items_of_run,
    open_run,
    run_state,
)
from app.queue.finish import finish
from app.retry import Decision
from app.rules import Plan
from tests.queue.making import accept_items, claim_one, event, localize_plan

ARGS = {"hub": "main", "schemas": ["https://example.com/b", "https://example.com/a"]}


def asked(run: BulkRun, *items: str) -> list[tuple[WebhookEvent, list[Plan]]]:
    return [
        (
            event(
                f"{run.name}-{item}",
                payload={"id": item},
                item_id=item,
                request_id=run.name,
                origin=ORIGIN,
            ),
            [localize_plan(item)],
        )
        for item in items
    ]


def test_same_command_takes_up_its_run_where_it_stands(storage: Storage) -> None:
    first = open_run(storage, "localize", ARGS)
    accept_for_run(storage, first, asked(first, "a"), position={"page": 3}, counts={"listed": 1})
    again = open_run(storage, "localize", dict(reversed(ARGS.items())))
    assert (again.id, again.name, again.resumed) == (first.id, first.name, True)
    assert (again.position, again.counts) == ({"page": 3}, {"listed": 1})


def test_other_command_or_other_args_begin_a_run_of_their_own(storage: Storage) -> None:
    runs = [
        open_run(storage, "localize", ARGS),
        open_run(storage, "localize", {**ARGS, "hub": "outlet"}),
        open_run(storage, "resync", ARGS),
    ]
    assert len({run.name for run in runs}) == 3
    assert not any(run.resumed for run in runs)


def test_closed_run_is_not_taken_up(storage: Storage) -> None:
    first = open_run(storage, "localize", ARGS)
    close_run(storage, first)
    assert open_run(storage, "localize", ARGS).id != first.id


def test_restart_leaves_the_old_run_behind(storage: Storage) -> None:
    first = open_run(storage, "localize", ARGS)
    second = open_run(storage, "localize", ARGS, restart=True)
    assert second.id != first.id
    assert open_run(storage, "localize", ARGS).id == second.id


def test_two_commands_at_once_share_one_run(storage: Storage) -> None:
    with ThreadPoolExecutor(6) as pool:
        runs = list(pool.map(lambda _: open_run(storage, "localize", ARGS), range(6)))
    assert len({run.id for run in runs}) == 1


def test_items_listed_twice_add_no_job(storage: Storage) -> None:
    run = open_run(storage, "localize", ARGS)
    for items in (("a", "b"), ("b", "c")):
        accept_for_run(storage, run, asked(run, *items), position=None, counts={})
    assert run_state(storage, run).jobs == {"waiting": 3}
    assert items_of_run(storage, run) == {"a", "b", "c"}


def test_state_counts_the_jobs_of_this_run_alone(storage: Storage) -> None:
    accept_items(storage, 2)
    other = open_run(storage, "resync", ARGS)
    accept_for_run(storage, other, asked(other, "z"), position=None, counts={})
    run = open_run(storage, "localize", ARGS)
    accept_for_run(storage, run, asked(run, "a", "b", "c"), position=None, counts={})
    claimed = claim_one(storage, queue="localize:main")
    assert claimed.item_id == "z"
    finish(storage, claimed, Decision("dead", "failed", reason="amplience-refused"))
    first, *others = (claim_one(storage, queue="localize:main") for _ in range(3))
    finish(storage, first, Decision("succeeded", "succeeded"))
    for job in others:
        finish(storage, job, Decision("dead", "failed", reason="no-locale"))
    state = run_state(storage, run)
    assert (state.total, state.ended, state.dead) == (3, 3, 2)
    [dead] = dead_items(storage, run, most=1)
    assert (dead.reason, dead.jobs, dead.items) == ("no-locale", 2, ("b",))


def test_delay_of_a_plan_puts_the_job_off(storage: Storage) -> None:
    run = open_run(storage, "localize", ARGS)
    [(now, [plan])] = asked(run, "now")
    [(later, _)] = asked(run, "later")
    delayed = replace(localize_plan("later"), delay=60)
    accept_for_run(storage, run, [(later, [delayed]), (now, [plan])], position=None, counts={})
    assert claim_one(storage, queue="localize:main").item_id == "now"
