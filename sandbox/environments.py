"""The addresses of Content Delivery 2: the CDN, the Fresh API and a virtual staging environment.

Knows who may ask, how often, and how old an answer may be; `delivery` knows what is answered.
Rules: https://amplience.com/developers/docs/concepts/caching and
https://amplience.com/developers/docs/apis/content-delivery/fresh
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from flask import Blueprint, request

from sandbox.core import Core
from sandbox.delivery import Origin, Parameters, fetch, filtered, invalid_value, one
from sandbox.errors import Json, RefusalError, delivery_error
from sandbox.models import CdnCopy
from sandbox.state import State

Render = Callable[[], Json]


class Environment(Protocol):
    """What differs between the three."""

    origin: Origin

    def admit(self) -> None:
        """Let the request in, or refuse it."""

    def answer(self, name: tuple[object, ...], render: Render) -> Json:
        """Give the answer of this name, freshly rendered or an older copy."""


@dataclass
class Cdn:
    """Serves copies, and a copy that is too old once more (stale-while-revalidate)."""

    state: State
    origin: Origin

    def admit(self) -> None:
        """Let everyone in: the CDN is public and has no rate limit."""

    def answer(self, name: tuple[object, ...], render: Render) -> Json:
        """Give the copy; when it is too old, give it all the same and take a new one."""
        kept = self.state.cdn_copies.get(name)
        if kept is None:
            kept = self._keep(name, render)
        elif self.state.now() - kept.time >= self.state.options.cdn_ttl:
            self._keep(name, render)
        if isinstance(kept.outcome, RefusalError):
            raise kept.outcome
        return kept.outcome

    def _keep(self, name: tuple[object, ...], render: Render) -> CdnCopy:
        outcome: Json | RefusalError
        try:
            outcome = render()
        except RefusalError as refusal:
            outcome = refusal
        copy = CdnCopy(outcome, self.state.now())
        self.state.cdn_copies.pop(name, None)
        if isinstance(outcome, dict) or self.state.options.cdn_caches_not_found:
            self.state.cdn_copies[name] = copy
        return copy


@dataclass
class Fresh:
    """Serves what is published now, to those with a key, at 100 requests a second."""

    state: State
    origin: Origin

    def admit(self) -> None:
        """Ask for the key, and take from a bucket that fills at the allowed rate."""
        state, options, now = self.state, self.state.options, self.state.now()
        if request.headers.get("X-API-Key") != options.fresh_api_key:
            raise delivery_error(401, "UNAUTHORIZED", "A valid X-API-Key header is required")
        filled = state.fresh_left + (now - state.fresh_time) * options.fresh_rate
        state.fresh_left, state.fresh_time = min(options.fresh_burst, filled), now
        if state.fresh_left < 1:
            raise delivery_error(429, "THROTTLED_REQUEST", "Exceeded rate limit")
        state.fresh_left -= 1

    def answer(self, name: tuple[object, ...], render: Render) -> Json:  # noqa: ARG002
        """Give the newest answer."""
        return render()


@dataclass
class Staging:
    """Serves what was saved last, published or not."""

    origin: Origin

    def admit(self) -> None:
        """Let everyone in: a staging environment goes by addresses, which a sandbox has not."""

    def answer(self, name: tuple[object, ...], render: Render) -> Json:  # noqa: ARG002
        """Give the newest answer."""
        return render()


def create_environments(core: Core) -> list[Blueprint]:
    """Make the routes of all three environments."""
    state = core.state
    published = Origin(state, staging=False)
    return [
        create_delivery("cdn", state, Cdn(state, published)),
        create_delivery("fresh", state, Fresh(state, published)),
        create_delivery("staging", state, Staging(Origin(state, staging=True))),
    ]


def given() -> Json:
    """Read the JSON object that was sent, or refuse with 400."""
    body = request.get_json(silent=True, force=True)
    if not isinstance(body, dict):
        raise invalid_value("body", None)
    return body


def create_delivery(name: str, state: State, environment: Environment) -> Blueprint:
    """Make the Content Delivery 2 routes of one environment."""
    routes = Blueprint(name, __name__, url_prefix=f"/{name}")
    origin = environment.origin

    def admit() -> None:
        with state.lock:
            environment.admit()

    def read(kind: str, value: str, parameters: Parameters) -> Json:
        with state.lock:
            return environment.answer(
                (kind, value, parameters), lambda: one(origin, kind, value, parameters)
            )

    routes.before_request(admit)

    @routes.get("/content/id/<item_id>")
    def by_id(item_id: str) -> Json:
        return read("id", item_id, Parameters.read(request.args.to_dict()))

    @routes.get("/content/key/<path:key>")
    def by_key(key: str) -> Json:
        return read("key", key, Parameters.read(request.args.to_dict()))

    @routes.post("/content/fetch")
    def fetch_many() -> Json:
        return fetch(given(), read)

    @routes.post("/content/filter")
    def filter_items() -> Json:
        asked = given()
        asked_for = json.dumps(asked, sort_keys=True)
        with state.lock:
            return environment.answer(("filter", asked_for), lambda: filtered(origin, asked))

    return routes
