"""Connection checks: one for each thing that the service talks to, without any side effect.

A check returns a line of detail or raises `CheckFailed`, an `AppError` or what a library raises.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from urllib3.util import parse_url

from app.amplience.answers import HubProperties
from app.amplience.auth import tokens_for
from app.amplience.delivery import ContentParameters, ContentRequest, DeliveryClient
from app.amplience.management import ManagementClient
from app.config import (
    AmplienceHosts,
    ClientCredentials,
    Delivery,
    Destination,
    Hub,
    PersonalAccessToken,
    Settings,
)
from app.destinations.connection import AddressRefused, DestinationPools, Trust
from app.destinations.sending import PRIVATE_ADDRESS, masked_url
from app.errors import (
    AmplienceError,
    AppError,
    NotFound,
    Unauthorized,
    Unavailable,
)
from app.operations.connection_errors import NAME_UNKNOWN, why_no_answer
from app.storage import Storage, check_schema
from app.storage.tables import SCHEMA_REVISION

_SOURCES = {"fresh": "the Fresh API", "cdn": "the CDN", "staging": "the staging environment"}


class CheckFailed(AppError):
    """What was checked does not work; the message says why, and what to change."""


@dataclass(frozen=True)
class Check:
    """One thing to try: `attempt` returns a line of detail, or raises."""

    name: str
    attempt: Callable[[], str]


@dataclass(frozen=True)
class Outcome:
    """The result of a check; `detail` has no secrets."""

    name: str
    ok: bool
    detail: str
    milliseconds: int


def checks_of(settings: Settings, *, limit: float) -> Iterator[Check]:
    """Every check that these settings ask for, in order; `limit` in seconds bounds waits inside.

    Run each before the next is taken: a hub is asked for only with a token that was accepted.
    """
    yield Check("database", partial(_database, settings.database_url, limit))
    for hub in settings.hubs:
        if hub.credentials:
            access = _Access(hub, hub.credentials, settings.amplience)
            if isinstance(hub.credentials, ClientCredentials):
                yield Check(f"hub {hub.key}: token", access.token)
            yield Check(f"hub {hub.key}: id and name", access.visible)
        if hub.delivery:
            yield Check(f"hub {hub.key}: delivery", partial(_delivery, hub, hub.delivery))
    for place in settings.destinations:
        yield Check(f"destination {place.name}", partial(_destination, place, limit))
    if settings.traces_endpoint:
        # The operator's own, wherever it is.
        collector = Destination("traces", settings.traces_endpoint, allow_private=True)
        yield Check("collector of traces", partial(_destination, collector, limit))


def run(check: Check, *, limit: float) -> Outcome:
    """Try one thing for at most `limit` seconds; a failure is an outcome, never an exception."""
    started = time.monotonic()
    result: Future[str] = Future()
    # Looking up a name has no timeout of its own, so the whole check gets one from outside. The
    # thread is left behind: it must not keep the process.
    thread = threading.Thread(target=_attempt, args=(check, result), daemon=True)
    thread.start()
    thread.join(limit)
    if not result.done():
        ok, detail = False, f"no answer within {limit:g} s"
    elif problem := result.exception():
        ok, detail = False, _reason(problem)
    else:
        ok, detail = True, result.result()
    return Outcome(check.name, ok, detail, round((time.monotonic() - started) * 1000))


def _attempt(check: Check, result: Future[str]) -> None:
    try:
        detail = check.attempt()
    except Exception as problem:  # noqa: BLE001 - one failure must not stop the others
        result.set_exception(problem)
    else:
        result.set_result(detail)


def _reason(problem: BaseException) -> str:
    if isinstance(problem, AmplienceError) and problem.status is None and problem.__cause__:
        return f"{problem} ({why_no_answer(problem)})"
    if isinstance(problem, AppError):
        return str(problem)
    # Its own text may quote what it dislikes.
    return f"it cannot be checked ({type(problem).__name__})"


def _database(url: str, limit: float) -> str:
    place = make_url(url)
    if place.get_backend_name() == "sqlite":
        path = Path(place.database or "")
        if not path.exists() or path.stat().st_size == 0:
            # Opening it would make the file, which is for `db upgrade` and `serve` to do.
            _check_can_be_made(path)
            return f"SQLite file {path} will be made by `dc-relay serve`"
    with closing(Storage(url, timeout=limit)) as storage:
        check_schema(storage)
    return f"{_described(place)}, schema {SCHEMA_REVISION}"


def _check_can_be_made(path: Path) -> None:
    nearest = next(parent for parent in path.absolute().parents if parent.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise CheckFailed(f"{path} cannot be made: {nearest} is no directory that can be written")


def _described(place: URL) -> str:
    if place.get_backend_name() == "sqlite":
        return f"SQLite file {place.database}"
    port = f":{place.port}" if place.port else ""
    return f"PostgreSQL database {place.database or ''} at {place.host or 'localhost'}{port}"


class _Access:
    """The credentials of one hub: first whether they give a token, then what it opens."""

    def __init__(
        self,
        hub: Hub,
        credentials: ClientCredentials | PersonalAccessToken,
        hosts: AmplienceHosts,
    ) -> None:
        self._hub = hub
        self._credentials = credentials
        self._hosts = hosts
        self._tokens = tokens_for(credentials, auth_url=hosts.auth_url)
        # A personal access token is not asked for; the first call shows whether it is good.
        self._usable = isinstance(credentials, PersonalAccessToken)

    def token(self) -> str:
        with closing(self._tokens):
            self._tokens.bearer()
        self._usable = True
        return "client id and secret are accepted"

    def visible(self) -> str:
        if not self._usable:
            raise CheckFailed("not tried: there is no token")
        with closing(
            ManagementClient(credentials=self._credentials, hosts=self._hosts, tokens=self._tokens)
        ) as client:
            if self._hub.id is None:
                return _choice(self._hub, client.hubs())
            try:
                found = client.hub(self._hub.id)
            except (NotFound, Unauthorized) as problem:
                raise CheckFailed(_not_visible(client, self._hub, problem)) from problem
        _check_name(self._hub, found)
        return _titled(found)


def _not_visible(client: ManagementClient, hub: Hub, problem: AmplienceError) -> str:
    try:
        others = client.hubs()
    except Unauthorized:
        return f"the credentials are not accepted, or may not read hubs ({problem.status})"
    return (
        f"no hub with the id {hub.id} is visible to these credentials ({problem.status});"
        f" {_listed(others)}; check AMPLIENCE_HUB_ID, or id in [hubs.{hub.key}]"
    )


def _check_name(hub: Hub, found: HubProperties) -> None:
    if hub.name and found.name and hub.name != found.name:
        raise CheckFailed(
            f"the hub {found.id} is called {found.name}, and the settings say {hub.name}:"
            f" set AMPLIENCE_HUB_NAME, or name in [hubs.{hub.key}], to {found.name}"
        )


def _choice(hub: Hub, found: Sequence[HubProperties]) -> str:
    """What to choose the hub's id from; fails when what the settings do say is not there."""
    if not found:
        raise CheckFailed("no hub is visible to these credentials")
    if hub.name and hub.name not in {each.name for each in found}:
        raise CheckFailed(f"no hub called {hub.name} is visible; {_listed(found)}")
    return f"no id is set; {_listed(found)}; set AMPLIENCE_HUB_ID, or id in [hubs.{hub.key}]"


def _listed(found: Sequence[HubProperties]) -> str:
    if not found:
        return "no hub is visible"
    count = "1 hub is" if len(found) == 1 else f"{len(found)} hubs are"
    return f"{count} visible: {', '.join(map(_titled, found))}"


def _titled(hub: HubProperties) -> str:
    return f"{hub.name or hub.label or 'without a name'} ({hub.id})"


def _delivery(hub: Hub, delivery: Delivery) -> str:
    """Ask for an item that cannot be there: the proper answer is that it is not."""
    source = _SOURCES[delivery.source]
    nobody = ContentRequest(id=str(uuid.uuid4()))
    with closing(DeliveryClient(delivery)) as client:
        try:
            result = client.fetch([nobody], ContentParameters(depth="root"))[0]
        except Unauthorized as problem:
            key = "does not accept the API key" if delivery.api_key else "wants an API key"
            raise CheckFailed(
                f"{source} {key} ({problem.status}): check AMPLIENCE_FRESH_API_KEY, or api_key in"
                f" [hubs.{hub.key}.delivery]"
            ) from problem
        except Unavailable as problem:
            if problem.status is None and why_no_answer(problem) == NAME_UNKNOWN:
                raise CheckFailed(
                    f"{masked_url(delivery.url)}: {NAME_UNKNOWN}: check AMPLIENCE_HUB_NAME, or name"
                    f" in [hubs.{hub.key}]"
                ) from problem
            raise
    if isinstance(result, AmplienceError):
        raise result
    return f"{source} answers at {masked_url(delivery.url)}"


def _destination(place: Destination, limit: float) -> str:
    where = masked_url(place.url)
    try:
        _connect(place, timeout=min(place.timeout, limit))
    except AddressRefused:
        raise CheckFailed(f"{where}: {PRIVATE_ADDRESS}") from None
    # Any kind: the address may be one that no library can read, and its text must not be shown.
    except Exception as problem:
        raise CheckFailed(f"{where}: {why_no_answer(problem)}") from problem
    return f"{where} takes connections"


def _connect(destination: Destination, *, timeout: float) -> None:
    """Open a connection (TCP, and TLS for https) as the sender would, and close it.

    Raises AddressRefused where only `allow_private` would let it through, and whatever urllib3,
    `ssl` or the socket raise.
    """
    # The same trust as the sender's, which ignores the environment's proxies and bundles.
    trust = Trust(destination.ca_file, destination.client_cert, destination.client_key)
    address = parse_url(destination.url)
    with closing(
        DestinationPools(allow_private=destination.allow_private, pools=1, pool_size=1)
    ) as pools:
        pool = pools.pool(str(address.scheme), str(address.host), address.port, trust)
        tls = trust.as_settings() if pool.scheme == "https" else {}
        connection = pool.ConnectionCls(pool.host, pool.port, timeout=timeout, **tls)
        with closing(connection):
            connection.connect()
