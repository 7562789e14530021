"""What a person does on the pages: retry, cancel, replay, pause, resume. Every route is a POST.

Each calls one verb of the ledger, says what came of it, and goes back to the page.
"""

from __future__ import annotations

import time
from collections import Counter

import structlog
from flask import Blueprint, flash, redirect, request, url_for
from werkzeug.wrappers import Response

from app.config import Destination, Settings
from app.db import Storage
from app.destinations.trial import Trial
from app.errors import NoSuchRecord
from app.queue.operator import (
    Replayed,
    cancel_job,
    pause,
    planner,
    replay_event,
    resume,
    retry_job,
    retry_where,
)
from app.queue.search import read_event, show_job
from app.web.dashboard.reading import ID, dead_filter
from app.web.dashboard.reading import NAME as PAGES
from app.web.dashboard.wording import plural
from app.web.services import OperatorServices

NAME = "dashboard-actions"
# Seconds that one click may take; the rest of a large group is for another click.
_PATIENCE = 5.0

_log = structlog.get_logger(__name__)


def build(services: OperatorServices) -> Blueprint:
    """The blueprint of everything that changes something."""
    blueprint = Blueprint(NAME, __name__, template_folder="templates")
    _add_jobs(blueprint, services.storage)
    _add_replay(blueprint, services)
    _add_destinations(blueprint, services)
    return blueprint


def _add_jobs(blueprint: Blueprint, storage: Storage) -> None:

    @blueprint.post(f"/jobs/<{ID}:identifier>/retry")
    def retry(identifier: int) -> Response:
        retry_job(storage, identifier)
        _done("retry", f"Job {identifier} is tried again now.", job_id=identifier)
        return _to_job(storage, identifier)

    @blueprint.post(f"/jobs/<{ID}:identifier>/cancel")
    def cancel(identifier: int) -> Response:
        cancel_job(storage, identifier)
        _done("cancel", f"Job {identifier} is cancelled.", job_id=identifier)
        return _to_job(storage, identifier)

    @blueprint.post("/dead/retry")
    def retry_group() -> Response:
        text, more = _retry_group(storage)
        _done("retry-group", text, reason=request.form.get("reason"))
        if more:
            given = request.form
            again = url_for(
                f"{PAGES}.dead_group",
                reason=given.get("reason"),
                action=given.get("action"),
                target=given.get("target"),
            )
            return redirect(again, code=303)
        return redirect(url_for(f"{PAGES}.dead"), code=303)


def _add_replay(blueprint: Blueprint, services: OperatorServices) -> None:
    storage, plan = services.storage, planner(services.settings)

    @blueprint.post(f"/events/<{ID}:identifier>/replay")
    def replay(identifier: int) -> Response:
        stored = read_event(storage, identifier)
        made = replay_event(storage, identifier, plan(stored))
        _done("replay", _in_words(made), event_row=identifier)
        return redirect(url_for(f"{PAGES}.event", identifier=identifier), code=303)


def _add_destinations(blueprint: Blueprint, services: OperatorServices) -> None:
    storage, settings = services.storage, services.settings

    @blueprint.post("/destinations/<name>/pause")
    def pause_destination(name: str) -> Response:
        _known(settings, name)
        reason = request.form.get("reason", "").replace("\0", "").strip()
        pause(storage, name, reason or "by a person")
        _done("pause", f"{name} is paused: it is sent nothing.", destination=name)
        return _to_destinations()

    @blueprint.post("/destinations/<name>/resume")
    def resume_destination(name: str) -> Response:
        _known(settings, name)
        resume(storage, name)
        _done("resume", f"{name} is sent its queue again.", destination=name)
        return _to_destinations()

    @blueprint.post("/destinations/<name>/test")
    def test_destination(name: str) -> Response:
        trial = services.send_test(_known(settings, name))
        _done("test", _tried(trial), destination=name, ok=trial.ok)
        return _to_destinations()


def _done(verb: str, text: str, **fields: object) -> None:
    _log.info("dashboard.acted", verb=verb, **fields)
    flash(text)


def _to_job(storage: Storage, identifier: int) -> Response:
    event = show_job(storage, identifier).job.event
    target = url_for(f"{PAGES}.event", identifier=event, _anchor=f"job-{identifier}")
    return redirect(target, code=303)


def _to_destinations() -> Response:
    return redirect(url_for(f"{PAGES}.destinations"), code=303)


def _known(settings: Settings, name: str) -> Destination:
    found = settings.destination(name)
    if found is None:
        raise NoSuchRecord("destination-unknown", f"No destination is called {name}.")
    return found


def _in_words(replayed: Replayed) -> str:
    made, active = len(replayed.made), len(replayed.active)
    if not made and not active:
        return "No rule wants this event now, so no job was made."
    text = f"The event is replayed: {plural(made, 'new job')}."
    return text + (f" {plural(active, 'job')} of it waited or ran already." if active else "")


def _tried(trial: Trial) -> str:
    """What a test of a destination came to."""
    if trial.ok:
        answer = f"it answered {trial.status} in {trial.milliseconds} ms"
        return f"{trial.destination} took the test: {answer}."
    return f"{trial.destination} did not take the test: {trial.message}"


def _retry_group(storage: Storage) -> tuple[str, bool]:
    """Retry page by page; tells what was done, and whether there is more."""
    wanted, cursor = dead_filter(request.form), None
    until = time.monotonic() + _PATIENCE
    jobs, superseded, refused = 0, 0, Counter[str]()
    while True:
        done = retry_where(storage, wanted, cursor=cursor)
        jobs, superseded = jobs + done.jobs, superseded + done.superseded
        refused += done.refused
        cursor = done.next
        if cursor is None or time.monotonic() > until:
            break
    text = f"{plural(jobs, 'job')} will be tried again now."
    if superseded:
        text += f" {superseded} had a newer job that takes the place."
    for reason, count in refused.items():
        text += f" {count} refused: {reason}."
    if cursor:
        text += " There are more: retry the group once more."
    return text, cursor is not None
