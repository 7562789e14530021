"""The jobs that follow from a job: written with its success, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, or_, select, update

from app.ledger.accepting import add_jobs
from app.ledger.claiming import Job
from app.retry import FollowUp
from app.rules import Plan
from app.storage.tables import in_state, jobs, now_ms


def follow(connection: Connection, job: Job, wanted: Sequence[FollowUp]) -> None:
    """Write what follows, within the transaction that finishes `job`: of its event and rule."""
    event_row, began, now = connection.execute(
        select(jobs.c.event, jobs.c.started_at, now_ms()).where(jobs.c.id == job.id)
    ).one()
    plans = [
        Plan(
            rule=job.rule,
            action=one.action,
            target=one.target,
            lane=one.lane,
            key=one.key,
            version=began,
            args=one.args,
        )
        for one in wanted
    ]
    add_jobs(connection, plans, hub=job.hub, event_row=event_row, now=now)


def send_newest_again(connection: Connection, job: Job) -> int | None:
    """Where an attempt that had lost its job was taken late: send the newest version again.

    Its old version may have arrived after newer ones, which are what the destination must have in
    the end. Returns the id of the job for that; None where nothing newer was sent, or something
    newer waits and is sent anyway.
    """
    newest = _newest_of_key(connection, job)
    if newest is None or newest.state == "waiting":
        return None
    plan = Plan(
        rule=newest.rule,
        action=newest.action,
        target=newest.target,
        lane=newest.lane,
        key=newest.key,
        version=newest.version,
        args=newest.args,
    )
    now = connection.execute(select(now_ms())).scalar_one()
    [again] = add_jobs(connection, [plan], hub=newest.hub, event_row=newest.event, now=now)
    connection.execute(update(jobs).where(jobs.c.id == again).values(replay_of=newest.id))
    return again


def _newest_of_key(connection: Connection, job: Job) -> Row[Any] | None:
    """Find the newest job of the key that is newer than this one and was, or will be, sent."""
    newer = (
        jobs.c.key == job.key,
        or_(jobs.c.version > job.version, (jobs.c.version == job.version) & (jobs.c.id > job.id)),
    )
    its_event = select(jobs.c.event).where(jobs.c.id == job.id).scalar_subquery()
    active = in_state(jobs, "waiting", "running")
    # The index of ended jobs by target, state and event: only what came since is looked through.
    sent = (
        jobs.c.finished_at.is_not(None),
        jobs.c.target == job.target,
        in_state(jobs, "succeeded"),
        jobs.c.event >= its_event,
    )
    for found in ((active,), sent):
        row = connection.execute(
            select(jobs)
            .where(*newer, *found)
            .order_by(jobs.c.version.desc(), jobs.c.id.desc())
            .limit(1)
        ).one_or_none()
        if row is not None:
            return row
    return None
