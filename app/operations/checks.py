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
from app.db import Storage, check_schema
from app.db.tables import SCHEMA_REVISION
from app.destinations.connection import AddressRefused, DestinationPools, Trust
from app.destinations.sending import PRIVATE_ADDRESS, masked_url
from app.errors import AmplienceError, AppError, NotFound, Unauthorized, Unavailable
from app.observability import Mask
from app.operations.connection_errors import NAME_UNKNOWN, error_text, why_no_answer

_SOURCES = {"fresh": "the Fresh API", "cdn": "the CDN", "staging": "the staging environment"}


class CheckFailed(AppError):
    """What was checked does not work; the message says why, and what to change."""


@dataclass(frozen=True)
class Outcome:
    """The result of a check; `detail` has no secrets."""

    name: str
    ok: bool
    detail: str
    milliseconds: int


def run_checks(settings: Settings, *, limit: float) -> Iterator[Outcome]:
    """Try everything that these settings name, in order, each for at most `limit` seconds."""
    # Details quote what Amplience answers, and some services repeat what they were sent.
    mask = Mask(settings.secrets)
    for name, check in _checks(settings, limit):
        started = time.monotonic()
        ok, detail = _run(check, limit)
        milliseconds = round((time.monotonic() - started) * 1000)
        yield Outcome(name, ok, mask.text(detail), milliseconds)


def _checks(settings: Settings, limit: float) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "database", partial(_database, settings.database_url, limit)
    for hub in settings.hubs:
        if hub.credentials:
            access = _HubAccess(hub, hub.credentials, settings.amplience)
            if isinstance(hub.credentials, ClientCredentials):
                yield f"hub {hub.key}: token", access.token
            yield f"hub {hub.key}: id and name", access.visible
        if hub.delivery:
            yield f"hub {hub.key}: delivery", partial(_delivery, hub, hub.delivery)
    for destination in settings.destinations:
        yield f"destination {destination.name}", partial(_destination, destination, limit)
    if settings.traces_endpoint:
        # The operator's own, so any address is allowed.
        collector = Destination("traces", settings.traces_endpoint, allow_private=True)
        yield "collector of traces", partial(_destination, collector, limit)


def _run(check: Callable[[], str], limit: float) -> tuple[bool, str]:
    """Whether the check passed, and its detail or the reason; never raises."""
    result: Future[str] = Future()
    # Looking up a name has no timeout of its own, so the whole check gets one from outside. The
    # thread is left behind: it must not keep the process.
    thread = threading.Thread(target=_settle, args=(result, check), daemon=True)
    thread.start()
    thread.join(limit)
    if not result.done():
        return False, f"no answer within {limit:g} s"
    problem = result.exception()
    if problem is None:
        return True, result.result()
    if isinstance(problem, AppError):
        return False, error_text(problem)
    # Its own text may quote what it dislikes.
    return False, f"it cannot be checked ({type(problem).__name__})"


def _settle(result: Future[str], check: Callable[[], str]) -> None:
    try:
        result.set_result(check())
    except Exception as problem:  # noqa: BLE001 - one failure must not stop the others
        result.set_exception(problem)


def _database(url: str, limit: float) -> str:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        path = Path(parsed.database or "")
        if not path.exists() or path.stat().st_size == 0:
            # Opening it would make the file, which is for `db upgrade` and `serve` to do.
            _check_can_be_made(path)
            return f"SQLite file {path} will be made by `dc-relay serve`"
    with closing(Storage(url, timeout=limit)) as storage:
        check_schema(storage)
    return f"{_described(parsed)}, schema {SCHEMA_REVISION}"


def _check_can_be_made(path: Path) -> None:
    nearest = next(parent for parent in path.absolute().parents if parent.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise CheckFailed(f"{path} cannot be made: {nearest} is no directory that can be written")


def _described(parsed: URL) -> str:
    if parsed.get_backend_name() == "sqlite":
        return f"SQLite file {parsed.database}"
    port = f":{parsed.port}" if parsed.port else ""
    return f"PostgreSQL database {parsed.database or ''} at {parsed.host or 'localhost'}{port}"


class _HubAccess:
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
    unknown = ContentRequest(id=str(uuid.uuid4()))
    with closing(DeliveryClient(delivery)) as client:
        try:
            result = client.fetch([unknown], ContentParameters(depth="root"))[0]
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


def _destination(destination: Destination, limit: float) -> str:
    address = masked_url(destination.url)
    try:
        _connect(destination, timeout=min(destination.timeout, limit))
    except AddressRefused:
        raise CheckFailed(f"{address}: {PRIVATE_ADDRESS}") from None
    # Any kind: the address may be one that no library can read, and its text must not be shown.
    except Exception as problem:
        raise CheckFailed(f"{address}: {why_no_answer(problem)}") from problem
    return f"{address} takes connections"


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
