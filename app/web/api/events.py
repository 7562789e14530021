"""`/events`: list, show, replay one or many; `/status`: what is happening now."""

from __future__ import annotations

from app.queue.filters import EventFilter
from app.queue.operator import Replayed, planner, replay_event, replay_where
from app.queue.pagination import Page
from app.queue.records import EventRow, EventStory
from app.queue.search import count_events, list_events, read_event, show_event
from app.queue.stats import Overview, overview
from app.web.api import schemas
from app.web.api.arguments import Asked, EventsAsked, EventsToReplay
from app.web.api.fields import ID_PATH
from app.web.api.seam import ApiBlueprint
from app.web.services import OperatorServices

TAG = "events"


def add_to(blueprint: ApiBlueprint, services: OperatorServices) -> None:
    """Mount the operations on events."""
    storage, plan = services.storage, planner(services.settings)

    @blueprint.operation("/status", tag="status", answers=schemas.Status())
    def show_status() -> Overview:
        """What is happening now: queues, dead jobs, workers, destinations that are held."""
        return overview(storage)

    @blueprint.operation("/events", tag=TAG, takes=EventsAsked(), answers=schemas.EventPage())
    def find_events(asked: Asked[EventFilter]) -> Page[EventRow]:
        """List events, newest first."""
        return list_events(storage, asked.filter, limit=asked.limit, cursor=asked.cursor)

    @blueprint.operation(f"/events/{ID_PATH}", tag=TAG, answers=schemas.EventWithJobs())
    def show_one_event(identifier: int) -> EventStory:
        """Show one event with its body, its jobs and their attempts."""
        return show_event(storage, identifier)

    @blueprint.operation(
        f"/events/{ID_PATH}/replay", method="POST", tag=TAG, answers=schemas.Replayed()
    )
    def replay_one_event(identifier: int) -> Replayed:
        """Do again what the rules of today make of an event.

        A job of it that waits or runs already stands; a dead one is superseded by the new one.
        """
        stored = read_event(storage, identifier)
        return replay_event(storage, identifier, plan(stored))

    @blueprint.operation(
        "/events/replay",
        method="POST",
        tag=TAG,
        takes=EventsToReplay(),
        answers=schemas.ManyReplayed(),
    )
    def replay_many_events(asked: Asked[EventFilter]) -> dict[str, object]:
        """Replay one page of the events that a filter finds.

        Without `dry_run: false` it only counts them, whatever the page. Go on with `next`.
        """
        if asked.dry_run:
            return {"dry_run": True, "events": count_events(storage, asked.filter), "next": None}
        done = replay_where(storage, asked.filter, plan, limit=asked.limit, cursor=asked.cursor)
        return {"dry_run": False, **vars(done)}
