"""The jobs that follow from a job: written with its success, or not at all."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from app.ledger.accepting import add_jobs
from app.ledger.claiming import Job
from app.retry import FollowUp
from app.rules import Plan
from app.storage.tables import jobs, now_ms


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
