"""Which jobs of one key say the same, so that of those that wait only the newest is needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, or_, select, true

from app.ledger.claiming import Job
from app.storage.tables import in_state, jobs

# Of several waiting jobs of these actions for one key, only the newest has anything left to say.
NEWEST_WINS = frozenset({"forward"})

# The `kind` in the arguments of a job that tells a destination that an item is gone.
DELETED = "deleted"


def same_say(rule: str, args: Mapping[str, Any]) -> ColumnElement[bool]:
    """The condition on jobs of one key: the newer of them and a job of `rule` and `args` will do.

    Two rules can send one item in two ways, and both are wanted. But when it is gone, it is gone
    for every rule, and when it is published again no deletion is left to tell.
    """
    if args.get("kind") == DELETED:
        return true()
    return or_(jobs.c.rule == rule, jobs.c.args["kind"].as_string() == DELETED)


def newer_waiting(connection: Connection, job: Job | Row[Any]) -> int | None:
    """Find the newest job that makes another try of this one pointless."""
    if job.action not in NEWEST_WINS:
        return None
    return connection.execute(
        select(jobs.c.id)
        .where(
            jobs.c.key == job.key,
            same_say(job.rule, job.args),
            in_state(jobs, "waiting"),
            jobs.c.id > job.id,
            jobs.c.version >= job.version,
        )
        .order_by(jobs.c.id.desc())
        .limit(1)
    ).scalar()
