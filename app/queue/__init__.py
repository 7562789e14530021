"""The job queue in the database: webhook events, their jobs, and each attempt.

Each function is one statement or one transaction.
"""

from app.queue.claim import claim, due_times, waiting_queues
from app.queue.delivered_versions import newer_was_sent
from app.queue.finish import Finished, finish
from app.queue.heartbeat import deregister, heartbeat, reclaim, release, renew_lease
from app.queue.ingest import Accepted, accept
from app.queue.job import Job
from app.queue.limits import Change, Limits, record_health
from app.queue.messages import keep_message, keep_unless_newer, kept_message
from app.queue.retention import prune
from app.queue.stats import Counts, Readiness, counts, readiness

__all__ = [
    "Accepted",
    "Change",
    "Counts",
    "Finished",
    "Job",
    "Limits",
    "Readiness",
    "accept",
    "claim",
    "counts",
    "deregister",
    "due_times",
    "finish",
    "heartbeat",
    "keep_message",
    "keep_unless_newer",
    "kept_message",
    "newer_was_sent",
    "prune",
    "readiness",
    "reclaim",
    "record_health",
    "release",
    "renew_lease",
    "waiting_queues",
]
