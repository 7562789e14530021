"""Sends webhooks as Amplience does: signed, paced, again when they are not taken, some twice."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

import requests

from app.events import CONTENT_ITEM_CREATED, SNAPSHOT_PUBLISHED
from app.sandbox import SandboxServer
from app.sandbox.control import default_payload
from tests.builders import signed
from tests.relay import SECRET
from tests.stories.editing import create

LOCALIZE_EVERY = 10
REPUBLISH_EVERY = 9
DUPLICATE_EVERY = 15
PAUSES = (0.2, 0.5, 1.0)
GIVE_UP_AFTER = 60.0
THREADS = 8


@dataclass
class Sent:
    """One event and what became of sending it; times are of this machine's clock."""

    id: str
    name: str
    item: str
    created: str | None
    first_at: float = 0.0
    accepted_at: float | None = None
    answers: Counter[str] = field(default_factory=Counter)


class Senders:
    """Sends `rate` events a second until it is closed; then finishes what it has begun."""

    def __init__(self, sandbox: SandboxServer, url: str, rate: float) -> None:
        self.events: list[Sent] = []
        self._sandbox = sandbox
        self._url = f"{url}/webhooks"
        self._pause = 1 / rate
        self._line: deque[tuple[Sent, bytes]] = deque()
        self._changed = threading.Condition()
        self._end = threading.Event()
        self._lock = threading.Lock()
        self._making = threading.Thread(target=self._make, name="make")
        self._sending = [
            threading.Thread(target=self._send_all, name="send") for _ in range(THREADS)
        ]

    def __enter__(self) -> Senders:
        for thread in (self._making, *self._sending):
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        with self._changed:
            self._changed.notify_all()
        for thread in (self._making, *self._sending):
            thread.join()

    def _make(self) -> None:
        due = time.monotonic()
        while not self._end.wait(max(0.0, due - time.monotonic())):
            due += self._pause
            number = len(self.events)
            sent, body = self._event(number)
            self.events.append(sent)
            with self._changed:
                self._line.append((sent, body))
                if number % DUPLICATE_EVERY == 0:
                    self._line.append((sent, body))
                self._changed.notify_all()

    def _event(self, number: int) -> tuple[Sent, bytes]:
        if number % LOCALIZE_EVERY == 5:
            name, item = CONTENT_ITEM_CREATED, create(self._sandbox, locale="en-GB")
        else:
            name, item = SNAPSHOT_PUBLISHED, self._published(number)
        payload = default_payload(self._sandbox.state, name, item)
        message = {
            "id": str(uuid.uuid4()),
            "name": name,
            "requestId": str(uuid.uuid4()),
            "payload": payload,
        }
        created = payload.get("createdDate") if name == SNAPSHOT_PUBLISHED else None
        return Sent(str(message["id"]), name, item, created), json.dumps(message).encode()

    def _published(self, number: int) -> str:
        """A new item that was published, or now and then an old one that was published again."""
        earlier = [each.item for each in self.events[-40:] if each.created]
        again = number % REPUBLISH_EVERY == 4 and earlier
        item = earlier[-1] if again else create(self._sandbox, locale="fr-FR")
        state = self._sandbox.state
        with state.lock:
            before = state.published.get(item)
        self._sandbox.content.publish(item)
        while state.published.get(item) is before:
            time.sleep(0.002)
        return item

    def _send_all(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            while self._making.is_alive() or self._line:
                with self._changed:
                    self._changed.wait_for(lambda: bool(self._line), 0.2)
                    waiting = self._line.popleft() if self._line else None
                if waiting:
                    self._send(session, *waiting)

    def _send(self, session: requests.Session, sent: Sent, body: bytes) -> None:
        begun = time.time()
        sent.first_at = sent.first_at or begun
        tries = 0
        while time.time() - begun < GIVE_UP_AFTER:
            answer = self._post(session, body)
            with self._lock:
                sent.answers[answer] += 1
                if answer in ("200", "202"):
                    sent.accepted_at = sent.accepted_at or time.time()
                    return
            time.sleep(PAUSES[min(tries, len(PAUSES) - 1)])
            tries += 1

    def _post(self, session: requests.Session, body: bytes) -> str:
        try:
            answer: Any = session.post(
                self._url, data=body, headers=signed(body, SECRET), timeout=10
            )
        except requests.RequestException:
            return "no answer"
        return str(answer.status_code)
