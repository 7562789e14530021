"""The pages that show: overview, events, one event, dead letters, destinations."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, Response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as WerkzeugResponse

from app.advice import of_reason
from app.config import Settings
from app.db import Storage
from app.queue.filters import STATES, EventFilter, JobFilter
from app.queue.pagination import DEFAULT_LIMIT, LONGEST_LOOK
from app.queue.search import count_jobs, list_events, list_jobs, read_event, show_job
from app.queue.stats import overview as read_overview
from app.web.dashboard import views

NAME = "dashboard"
_LONGEST_SEARCH = 200
# An id beyond this cannot be in the database, and the database would choke on it.
ID = "int(max=9223372036854775807)"


def build(settings: Settings, storage: Storage) -> Blueprint:
    """The blueprint of every page that only reads."""
    blueprint = Blueprint(NAME, __name__, template_folder="templates")
    _add_events(blueprint, settings, storage)
    _add_dead(blueprint, storage)

    @blueprint.get("/")
    def overview() -> str:
        now = read_overview(storage)
        is_live = bool(request.headers.get("X-Live"))
        return render_template(
            "dashboard/overview.html",
            state=now,
            troubles=views.troubles(now, late=settings.alerts.oldest_waiting),
            within=views.done_within(storage),
            hour=views.minutes_chart(storage),
            day=None if is_live else views.hours_chart(storage),
            latest=views.latest(storage),
        )

    @blueprint.get("/destinations")
    def destinations() -> str:
        return render_template(
            "dashboard/destinations.html", places=views.destinations(storage, settings)
        )

    return blueprint


def _add_events(blueprint: Blueprint, settings: Settings, storage: Storage) -> None:
    @blueprint.get("/events")
    def events() -> str:
        wanted, cursor = event_filter(request.args), request.args.get("cursor") or None
        page = list_events(storage, wanted, cursor=cursor)
        return render_template(
            "dashboard/events.html",
            page=page,
            cut_short=page.next is not None and len(page.rows) < DEFAULT_LIMIT,
            longest_look=LONGEST_LOOK,
            wanted=wanted,
            cursor=cursor,
            given={k: v for k, v in request.args.items() if v and k != "cursor"},
            states=STATES,
            targets=views.targets(settings),
        )

    @blueprint.get(f"/events/<{ID}:identifier>")
    def event(identifier: int) -> str:
        page = views.event_page(
            storage,
            settings,
            identifier,
            now=views.utc_now(),
            live=bool(request.headers.get("X-Live")),
        )
        return render_template("dashboard/event.html", page=page, event=page.story.event)

    @blueprint.get(f"/events/<{ID}:identifier>/body")
    def body(identifier: int) -> Response:
        # As text, whatever is in it: nothing in it is ours.
        return Response(
            read_event(storage, identifier).body, content_type="text/plain; charset=utf-8"
        )

    @blueprint.get(f"/jobs/<{ID}:identifier>")
    def job(identifier: int) -> WerkzeugResponse:
        found = show_job(storage, identifier).job
        target = url_for(f"{NAME}.event", identifier=found.event, _anchor=f"job-{found.id}")
        return redirect(target, code=303)


def _add_dead(blueprint: Blueprint, storage: Storage) -> None:
    @blueprint.get("/dead")
    def dead() -> str:
        return render_template("dashboard/dead.html", groups=views.groups(storage))

    @blueprint.get("/dead/group")
    def dead_group() -> str:
        wanted, cursor = dead_filter(request.args), request.args.get("cursor") or None
        return render_template(
            "dashboard/dead_group.html",
            wanted=wanted,
            advice=of_reason(wanted.reason),
            count=count_jobs(storage, wanted),
            page=list_jobs(storage, wanted, cursor=cursor, limit=20),
            cursor=cursor,
        )


def event_filter(given: Mapping[str, str]) -> EventFilter:
    """Read the search form; fields that are empty stay open."""

    def field(name: str) -> str | None:
        return _clean(given.get(name, ""))

    state = field("state")
    return EventFilter(
        event_id=field("event_id"),
        item_id=field("item_id"),
        label=field("label"),
        schema=field("schema"),
        state=state if state in STATES else None,
        target=field("target"),
    )


def dead_filter(given: Mapping[str, str]) -> JobFilter:
    """Read which group of dead jobs is meant."""
    return views.group_filter(
        reason=_clean(given.get("reason", "")),
        action=_clean(given.get("action", "")) or "",
        target=_clean(given.get("target", "")) or "",
    )


def _clean(text: str) -> str | None:
    # PostgreSQL has no zero byte in texts, and refuses to look for one.
    return text.replace("\0", "").strip()[:_LONGEST_SEARCH] or None
