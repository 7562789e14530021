"""Tells a platform whether the process lives, and whether the service can do its work.

Open to everybody, so it says no more than that.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from flask import Blueprint, Response, jsonify

from app.errors import StorageUnavailable
from app.web.services import DoorLedger, DoorServices

NAME = "health"

# A worker beats every 2.5 s, and its lease ends after 10 s: one that is silent for longer is gone.
OLDEST_BEAT = 15.0
# A job that is due and waits this long means that the workers do not keep up, or do not work.
LONGEST_WAIT = 300.0


@dataclass(frozen=True)
class Check:
    """Whether one part of the service is well, and what is wrong if not."""

    name: str
    ok: bool
    detail: str


def build(services: DoorServices) -> Blueprint:
    """The blueprint of `GET /healthz` and `GET /readyz`."""
    blueprint = Blueprint(NAME, __name__)

    @blueprint.get("/healthz")
    def healthz() -> Response:
        # No dependency: a platform that restarts us because the database is away helps nobody.
        return jsonify(status="ok")

    @blueprint.get("/readyz")
    def readyz() -> tuple[Response, int]:
        checks = _checks(services.ledger)
        ready = all(check.ok for check in checks)
        answer = jsonify(
            status="ready" if ready else "not-ready", checks=[asdict(check) for check in checks]
        )
        return answer, 200 if ready else 503

    return blueprint


def _checks(ledger: DoorLedger) -> list[Check]:
    try:
        ledger.ping()
        found = ledger.readiness()
    except StorageUnavailable:
        return [
            Check("database", ok=False, detail="does not answer"),
            Check("worker", ok=False, detail="not known without the database"),
            Check("backlog", ok=False, detail="not known without the database"),
        ]
    return [
        Check("database", ok=True, detail="answers"),
        _worker(found.worker_beat_age),
        _backlog(found.oldest_due_seconds),
    ]


def _worker(beat_age: float | None) -> Check:
    if beat_age is None:
        return Check("worker", ok=False, detail="no worker has ever run")
    return Check("worker", ok=beat_age < OLDEST_BEAT, detail=f"last beat {beat_age:.1f} s ago")


def _backlog(oldest: float | None) -> Check:
    if oldest is None:
        return Check("backlog", ok=True, detail="no job is due")
    return Check("backlog", ok=oldest < LONGEST_WAIT, detail=f"oldest job due for {oldest:.1f} s")
