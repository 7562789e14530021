"""Two services side by side on one kind of database, with little and with much in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeVar

import requests

from tools import service, stores
from tools.benchmarks.load import Webhooks, closed_loop
from tools.benchmarks.stubs import Stubs
from tools.benchmarks.visit import sent_and_taken

T = TypeVar("T")
DESTINATIONS = ("search", "mail", "shop", "archive")
# Publishes go to `archive`, which has few finished jobs.
_RULES = {"banner": ("archive",), "other": DESTINATIONS}


class Side:
    """A running web process and worker, asked over HTTP as a person or a program would."""

    def __init__(self, web: service.Process, stubs: Stubs) -> None:
        self.web = web
        self._stubs = stubs
        self._hooks = Webhooks()
        self._dashboard = requests.Session()
        self._api = requests.Session()
        self._api.headers["Authorization"] = f"Bearer {service.ADMIN_TOKEN}"
        self._sign_in()

    def _sign_in(self) -> None:
        form = self._dashboard.get(f"{self.web.url}/login", timeout=30).text
        token = form.partition('name="csrf_token" value="')[2].partition('"')[0]
        given = {"csrf_token": token, "token": service.ADMIN_TOKEN}
        self._dashboard.post(f"{self.web.url}/login", data=given, timeout=30).raise_for_status()

    def get(self, path: str) -> requests.Response:
        """Get a page of the dashboard, or a path of the API; raises unless it answers 200."""
        who = self._api if path.startswith(("/api/", "/metrics")) else self._dashboard
        answer = who.get(self.web.url + path, timeout=60, allow_redirects=False)
        if answer.status_code != 200:
            raise RuntimeError(f"{path} answered {answer.status_code}")
        return answer

    def timed(self, path: str) -> float:
        """The milliseconds that a path took."""
        started = time.perf_counter()
        self.get(path)
        return (time.perf_counter() - started) * 1000

    def delivered(self) -> tuple[float, float]:
        """Send one webhook: the milliseconds to its answer, and to the destination."""
        load, delays = sent_and_taken(
            self._stubs,
            lambda: closed_loop(self.web.port, self._hooks, seconds=10, count=1),
            timeout=10,
        )
        return load.at(1), delays[0]


@dataclass(frozen=True)
class Sides:
    """The two services."""

    little: Side
    much: Side

    def by_turns(self, measure: Callable[[Side], T], times: int) -> tuple[list[T], list[T]]:
        """Measure both, one after the other, in changing order."""
        found: tuple[list[T], list[T]] = ([], [])
        for turn in range(times):
            for which in (0, 1) if turn % 2 else (1, 0):
                found[which].append(measure((self.little, self.much)[which]))
        return found


@contextmanager
def sides(
    kind: type[stores.Store],
    stubs: Stubs,
    fill_little: Callable[[str], None],
    fill_much: Callable[[str], None],
) -> Iterator[Sides]:
    """Run two services until the block ends, each on a database that was filled for it."""
    with ExitStack() as opened:
        store, directory = opened.enter_context(stores.store(kind))
        found = []
        for name, fill in (("little", fill_little), ("much", fill_much)):
            place = directory / name
            place.mkdir()
            url = store.database(name)
            environ = stubs.configured(url, place, _RULES) | {"RETENTION_DAYS": "60"}
            service.make_tables(environ)
            fill(url)
            web = opened.enter_context(service.web(environ))
            opened.enter_context(service.worker(environ))
            found.append(Side(web, stubs))
        for side in found:  # Connections, caches, and until the worker runs.
            side.delivered()
        yield Sides(*found)
