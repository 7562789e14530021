"""The ledger: every webhook event, the jobs it asked for, and each attempt, in the database.

The verbs of a job are here, each one statement or one transaction: accept, claim, beat, hold,
finish, release, take over. This room must not know what a job does.
"""

from app.queue.claim import claim, due_times, waiting_lanes
from app.queue.delivered_versions import newer_was_sent
from app.queue.finish import Finished, finish
from app.queue.heartbeat import beat, hold, release, retire, take_over
from app.queue.ingest import Accepted, accept
from app.queue.job import Job
from app.queue.limits import Change, Pace, record_health
from app.queue.messages import keep_message, keep_unless_newer, kept_message
from app.queue.retention import prune
from app.queue.stats import Counts, Readiness, counts, readiness

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
