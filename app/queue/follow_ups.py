"""Follow-up jobs: written in the transaction that finishes their job, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, null, select, update

from app.db.json_rows import document_text
from app.db.tables import in_state, jobs, now_ms
from app.events import storable
from app.queue.coalescing import comes_after, is_deletion, supersede_older
from app.queue.ingest import add_jobs
from app.queue.job import Job
from app.retry import FollowUp
from app.rules import Plan, key_of_all_items


def add_follow_ups(connection: Connection, job: Job, wanted: Sequence[FollowUp]) -> None:
    """Write follow-up jobs of the same event and rule, in the transaction that finishes `job`."""
    event_row, began, now = connection.execute(
        select(jobs.c.event, jobs.c.started_at, now_ms()).where(jobs.c.id == job.id)
    ).one()
    plans = [
        Plan(
            rule=job.rule,
            action=one.action,
            target=one.target,
            queue=one.queue,
            # Amplience's answers are in these.
            key=str(storable(one.key)),
            version=began,
            args=dict(storable(one.args)),
        )
        for one in wanted
    ]
    add_jobs(connection, plans, hub=job.hub, event_row=event_row, now=now)


def revive_other_items(connection: Connection, job: Job) -> None:
    """Where a job that stood for the events of all items ended without a send: do others instead.

    The jobs of other items that it superseded wait again; of each rule the newest is enough.
    """
    if job.key != key_of_all_items(job.target):
        return
    made_at = select(jobs.c.created_at).where(jobs.c.id == job.id).scalar_subquery()
    revived = (
        update(jobs)
        .where(
            # The index of ended jobs by time: only what ended since is looked through.
            jobs.c.finished_at >= made_at,
            jobs.c.superseded_by == job.id,
            in_state(jobs, "superseded"),
            jobs.c.key == job.key,
            document_text(jobs.c.args, "item_id") != job.args.get("item_id"),
        )
        .values(
            state="waiting",
            reason=null(),
            superseded_by=null(),
            finished_at=null(),
            run_at=now_ms(),
        )
        .returning(jobs.c.id)
    )
    supersede_older(connection, list(connection.execute(revived).scalars()))


def resend_newest(connection: Connection, job: Job) -> int | None:
    """Resend the newer version that a late attempt of a lost job may have overwritten.

    Its old version may have arrived after newer ones, which are what the destination must have in
    the end. Returns the id of the (last) job for that; None where nothing newer was sent, or
    something newer waits and is sent anyway.
    """
    again = None
    now = connection.execute(select(now_ms())).scalar_one()
    for row in reversed(_overwritten(_newer_of_key(connection, job), job)):
        plan = Plan(
            rule=row.rule,
            action=row.action,
            target=row.target,
            queue=row.lane,
            key=row.key,
            version=row.version,
            args=row.args,
        )
        [again] = add_jobs(connection, [plan], hub=row.hub, event_row=row.event, now=now)
        connection.execute(update(jobs).where(jobs.c.id == again).values(replay_of=row.id))
    return again


def _overwritten(newer: Sequence[Row[Any]], job: Job) -> list[Row[Any]]:
    """Choose from newer jobs, newest first, what the destination may have lost. Pure.

    Each rule sends a message of its own: a publish overwrites that of its rule, a deletion those of
    all rules. What is newest and waits is sent anyway.
    """
    rules = [job.rule] if not is_deletion(job.args) else [row.rule for row in newer]
    newest = (
        next((row for row in newer if row.rule == rule or is_deletion(row.args)), None)
        for rule in dict.fromkeys(rules)
    )
    chosen = {row.id for row in newest if row is not None and row.state != "waiting"}
    return [row for row in newer if row.id in chosen]


def _newer_of_key(connection: Connection, job: Job) -> list[Row[Any]]:
    """Find the jobs of the key that are newer than this one and were, or will be, sent."""
    newer = jobs.c.key == job.key, comes_after(jobs, job.version, job.id)
    its_event = select(jobs.c.event).where(jobs.c.id == job.id).scalar_subquery()
    active = in_state(jobs, "waiting", "running")
    # The index of ended jobs by target, state and event: only what came since is looked through.
    sent = (
        jobs.c.finished_at.is_not(None),
        jobs.c.target == job.target,
        in_state(jobs, "succeeded"),
        jobs.c.event >= its_event,
    )
    rows: list[Row[Any]] = []
    for found in ((active,), sent):
        rows += connection.execute(select(jobs).where(*newer, *found))
    return sorted(rows, key=lambda row: (row.version, row.id), reverse=True)
