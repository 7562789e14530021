"""Sends webhooks as Amplience does: signed, again when they are not accepted, some twice."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import Counter, deque
from dataclasses import dataclass, field

import requests

from tools.emulator import SandboxServer, create, default_payload
from tools.service import SIGNATURE, signature

CONTENT_ITEM_CREATED = "dynamic-content.content-item.created"
SNAPSHOT_PUBLISHED = "dynamic-content.snapshot.published"
LOCALIZE_EVERY = 10
REPUBLISH_EVERY = 9
DUPLICATE_EVERY = 15
PAUSES = (0.2, 0.5, 1.0)
GIVE_UP_AFTER = 60.0
THREADS = 8


@dataclass
class Sent:
    """One event and its answers; times are of this machine's clock."""

    id: str
    name: str
    item: str
    created: str | None
    first_at: float = 0.0
    accepted_at: float | None = None
    answers: Counter[str] = field(default_factory=Counter)


class Senders:
    """Sends `rate` events a second until it is closed; then finishes what it has begun."""

    def __init__(self, emulator: SandboxServer, url: str, rate: float) -> None:
        self.events: list[Sent] = []
        self._emulator = emulator
        self._url = f"{url}/webhooks"
        self._pause = 1 / rate
        self._queue: deque[tuple[Sent, bytes]] = deque()
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
                self._queue.append((sent, body))
                if number % DUPLICATE_EVERY == 0:
                    self._queue.append((sent, body))
                self._changed.notify_all()

    def _event(self, number: int) -> tuple[Sent, bytes]:
        if number % LOCALIZE_EVERY == 5:
            name, item = CONTENT_ITEM_CREATED, create(self._emulator, locale="en-GB")
        else:
            name, item = SNAPSHOT_PUBLISHED, self._published(number)
        payload = default_payload(self._emulator.state, name, item)
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
        item = earlier[-1] if again else create(self._emulator, locale="fr-FR")
        state = self._emulator.state
        with state.lock:
            before = state.published.get(item)
        self._emulator.content.publish(item)
        while state.published.get(item) is before:
            time.sleep(0.002)
        return item

    def _send_all(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            while self._making.is_alive() or self._queue:
                with self._changed:
                    self._changed.wait_for(lambda: bool(self._queue), 0.2)
                    waiting = self._queue.popleft() if self._queue else None
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
            headers = {"Content-Type": "application/json", SIGNATURE: signature(body)}
            answer = session.post(self._url, data=body, headers=headers, timeout=10)
        except requests.RequestException:
            return "no answer"
        return str(answer.status_code)
