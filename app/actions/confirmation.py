"""How long an action waits for what it requested, and for an item that is not there yet."""

from __future__ import annotations

from dataclasses import dataclass

from app.errors import NotFound
from app.queue import Job
from app.retry import Failed, LookAgain


@dataclass(frozen=True)
class ConfirmationTiming:
    """How patient an action is, in seconds.

    `looks` are the pauses between looks for what was requested (the last one repeats) and
    `confirm_within` their end. `appear_within` is how long the item may answer 404. `repeat_after`
    is how long a request of unknown fate is waited for before it is made again.
    """

    looks: tuple[float, ...] = (0.5, 1, 2, 4, 8, 15, 30, 60)
    confirm_within: float = 900.0
    appear_within: float = 120.0
    repeat_after: float = 30.0

    def pause(self, looks: int) -> float:
        """The pause after the given number of looks."""
        return self.looks[min(looks, len(self.looks) - 1)]


def not_there(
    job: Job, error: NotFound, *, timing: ConfirmationTiming, now: float
) -> LookAgain | Failed:
    """Look again for the job's item, until the job is older than `appear_within`.

    An item may answer 404 for a moment after it was created
    (https://github.com/amplience/dc-cli/pull/206), so one 404 is never enough, however old the job
    is. Raises the error where it is not about the item.
    """
    if error.refusing:
        raise error
    looks = int(job.progress.get("not_found", 0))
    if looks and now - job.created_at.timestamp() > timing.appear_within:
        return Failed("item-not-found", str(error), transient=False)
    progress = {**job.progress, "not_found": looks + 1}
    return LookAgain("item-not-found-yet", timing.pause(looks), progress)
