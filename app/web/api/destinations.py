"""`/destinations`: list, show, pause, resume, test."""

from __future__ import annotations

from typing import Any

from app.destinations.hiding import masked_url
from app.destinations.trial import Trial
from app.errors import NoSuchRecord
from app.queue.operator import pause, resume
from app.queue.stats import list_destinations
from app.web.api import schemas
from app.web.api.arguments import PauseAsked
from app.web.api.seam import ApiBlueprint
from app.web.services import OperatorServices

TAG = "destinations"
_PATH = "/destinations/<string(maxlength=200):name>"


def _all(services: OperatorServices) -> list[dict[str, Any]]:
    urls = {place.name: masked_url(place.url) for place in services.settings.destinations}
    rows = list_destinations(services.storage, list(urls))
    return [{**vars(row), "url": urls.get(row.name)} for row in rows]


def _one(services: OperatorServices, name: str) -> dict[str, Any]:
    found = next((row for row in _all(services) if row["name"] == name), None)
    if found is None:
        raise NoSuchRecord("destination-unknown", "There is no destination of this name.")
    return found


def add_to(blueprint: ApiBlueprint, services: OperatorServices) -> None:
    """Mount the operations on destinations."""
    storage, settings = services.storage, services.settings
    one = schemas.Destination()

    @blueprint.operation("/destinations", tag=TAG, answers=schemas.DestinationList())
    def find_destinations() -> dict[str, Any]:
        """List every destination, also those that are configured no more and have a queue."""
        return {"destinations": _all(services)}

    @blueprint.operation(_PATH, tag=TAG, answers=one)
    def show_one_destination(name: str) -> dict[str, Any]:
        """Show how one destination fares."""
        return _one(services, name)

    @blueprint.operation(f"{_PATH}/pause", method="POST", tag=TAG, takes=PauseAsked(), answers=one)
    def pause_one_destination(asked: dict[str, str], name: str) -> dict[str, Any]:
        """Send it nothing more until it is resumed; its queue is kept."""
        pause(storage, _one(services, name)["name"], asked["reason"])
        return _one(services, name)

    @blueprint.operation(f"{_PATH}/resume", method="POST", tag=TAG, answers=one)
    def resume_one_destination(name: str) -> dict[str, Any]:
        """Let it have its queue again; where its breaker is open, it is tried now."""
        resume(storage, _one(services, name)["name"])
        return _one(services, name)

    @blueprint.operation(f"{_PATH}/test", method="POST", tag=TAG, answers=schemas.Trial())
    def test_one_destination(name: str) -> Trial:
        """Send it a signed message of type `dc-relay.test` now, and tell what was answered."""
        destination = settings.destination(name)
        if destination is None:
            raise NoSuchRecord("destination-unknown", "No destination of this name is configured.")
        return services.send_test(destination)
