"""The ledger: every webhook event, the jobs it asked for, and each attempt, in the database.

The verbs of a job are here, each one statement or one transaction: accept, claim, beat, hold,
finish, release, take over. This room must not know what a job does.
"""

from app.queue.accepting import Accepted, accept
from app.queue.claiming import Job, claim, due_times, waiting_lanes
from app.queue.finishing import Finished, finish
from app.queue.messages import keep_message, keep_unless_newer, kept_message
from app.queue.pacing import Change, Pace, record_health
from app.queue.pruning import prune
from app.queue.reading import Counts, Readiness, counts, readiness
from app.queue.sent import newer_was_sent
from app.queue.working import beat, hold, release, retire, take_over

__all__ = [
    "Accepted",
    "Change",
    "Counts",
    "Finished",
    "Job",
    "Pace",
    "Readiness",
    "accept",
    "beat",
    "claim",
    "counts",
    "due_times",
    "finish",
    "hold",
    "keep_message",
    "keep_unless_newer",
    "kept_message",
    "newer_was_sent",
    "prune",
    "readiness",
    "record_health",
    "release",
    "retire",
    "take_over",
    "waiting_lanes",
]
