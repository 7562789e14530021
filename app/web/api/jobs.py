"""`/jobs`: list, show, retry one or many, cancel."""

from __future__ import annotations

from app.queue.filters import JobFilter
from app.queue.operator import cancel_job, retry_job, retry_where
from app.queue.pagination import Page
from app.queue.records import JobRow, JobStory
from app.queue.search import count_jobs, list_jobs, show_job
from app.web.api import schemas
from app.web.api.arguments import Asked, JobsAsked, JobsToRetry
from app.web.api.fields import ID_PATH
from app.web.api.seam import ApiBlueprint
from app.web.services import OperatorServices

TAG = "jobs"


def add_to(blueprint: ApiBlueprint, services: OperatorServices) -> None:
    """Mount the operations on jobs."""
    storage = services.storage
    one = schemas.JobWithHistory()

    @blueprint.operation("/jobs", tag=TAG, takes=JobsAsked(), answers=schemas.JobPage())
    def find_jobs(asked: Asked[JobFilter]) -> Page[JobRow]:
        """List jobs, newest first."""
        return list_jobs(storage, asked.filter, limit=asked.limit, cursor=asked.cursor)

    @blueprint.operation(f"/jobs/{ID_PATH}", tag=TAG, answers=one)
    def show_one_job(identifier: int) -> JobStory:
        """Show one job with its attempts."""
        return show_job(storage, identifier)

    @blueprint.operation(f"/jobs/{ID_PATH}/retry", method="POST", tag=TAG, answers=one)
    def retry_one_job(identifier: int) -> JobStory:
        """Let a dead, cancelled or waiting job run now, with all of its retries again.

        It is superseded instead where a newer job for the same item waits.
        """
        retry_job(storage, identifier)
        return show_job(storage, identifier)

    @blueprint.operation(f"/jobs/{ID_PATH}/cancel", method="POST", tag=TAG, answers=one)
    def cancel_one_job(identifier: int) -> JobStory:
        """Take a waiting or dead job away; it stays in the ledger as cancelled."""
        cancel_job(storage, identifier)
        return show_job(storage, identifier)

    @blueprint.operation(
        "/jobs/retry",
        method="POST",
        tag=TAG,
        takes=JobsToRetry(),
        answers=schemas.ManyRetried(),
    )
    def retry_many_jobs(asked: Asked[JobFilter]) -> dict[str, object]:
        """Retry one page of the jobs that a filter finds.

        Without `dry_run: false` it only counts them, whatever the page. Go on with `next`.
        """
        if asked.dry_run:
            return {"dry_run": True, "jobs": count_jobs(storage, asked.filter), "next": None}
        done = retry_where(storage, asked.filter, limit=asked.limit, cursor=asked.cursor)
        return {"dry_run": False, **vars(done)}
