"""What a 404 for a job's own item means: not there yet, or not there at all."""

from __future__ import annotations

from app.errors import NotFound
from app.queue import Job
from app.retry import Failed, LookAgain


def not_there(
    job: Job, error: NotFound, *, now: float, patience: float, pause: float
) -> LookAgain | Failed:
    """Look again after `pause` seconds, until the job is older than `patience`.

    An item may answer 404 for a moment after it was created
    (https://github.com/amplience/dc-cli/pull/206), so one 404 is never enough, however old the job
    is. Raises the error where it is not about the item.
    """
    if error.refusing:
        raise error
    looks = looks_for(job)
    if looks and now - job.created_at.timestamp() > patience:
        return Failed("item-not-found", str(error), transient=False)
    return LookAgain("item-not-found-yet", pause, {**job.progress, "not_found": looks + 1})


def looks_for(job: Job) -> int:
    """How often the item was not there."""
    return int(job.progress.get("not_found", 0))
