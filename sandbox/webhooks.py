"""Sends signed webhooks, as Amplience does when content changes.

Knows envelopes, filters, signatures and retries; what the payloads say is not its business.
Rules: https://amplience.com/developers/docs/integrations/webhooks/
"""

import base64
import hashlib
import hmac
import json
import queue
import re
import threading

import requests

from sandbox.errors import Json
from sandbox.models import WebhookRequest, new_uuid, timestamp
from sandbox.scheduler import Scheduler
from sandbox.state import State

EVENT_TYPES = (
    "dynamic-content.content-item.created",
    "dynamic-content.content-item.updated",
    "dynamic-content.content-item.assigned",
    "dynamic-content.content-item.workflow.updated",
    "dynamic-content.edition.published",
    "dynamic-content.edition.scheduled",
    "dynamic-content.edition.unscheduled",
    "dynamic-content.snapshot.published",
)
SENDERS = 4
LONGEST_END = 2
"""How long the end waits for a receiver that does not answer."""
MISSING = object()


def sign(secret: str, body: bytes) -> str:
    """Sign the raw bytes: base64 of HMAC-SHA256, the secret taken as text."""
    return base64.b64encode(hmac.digest(secret.encode(), body, hashlib.sha256)).decode()


def find(path: str, document: object) -> object:
    """Follow a simple JSONPath such as `$.payload.body._meta.schema` or `$.payload.meta[0]`."""
    for name, index in re.findall(r"\.([^.\[\]]+)|\[(\d+)\]", path.removeprefix("$")):
        if name and isinstance(document, dict):
            document = document.get(name, MISSING)
        elif index and isinstance(document, list) and int(index) < len(document):
            document = document[int(index)]
        else:
            return MISSING
    return document


def wants(webhook: Json, envelope: Json) -> bool:
    """Tell whether an active webhook asked for this event. Several filters must all match."""
    if not webhook["active"] or envelope["name"] not in webhook["events"]:
        return False
    for rule in webhook["filters"]:
        path, expected = rule["arguments"][0]["jsonPath"], rule["arguments"][1]["value"]
        values = expected if rule["type"] == "in" else [expected]
        if find(path, envelope) not in values:
            return False
    return True


class WebhookSender:
    """Queues requests and posts them from a few threads, so that their order is not certain."""

    def __init__(self, state: State, scheduler: Scheduler) -> None:
        self._state = state
        self._scheduler = scheduler
        self._queue: queue.Queue[WebhookRequest | None] = queue.Queue()
        self._threads = [
            threading.Thread(target=self._run, name=f"sandbox-webhooks-{n}", daemon=True)
            for n in range(SENDERS)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def busy(self) -> bool:
        """Whether a request is queued or under way (retries wait in the scheduler)."""
        return self._queue.unfinished_tasks > 0

    def emit(self, name: str, payload: Json, *, event_id: str | None = None, times: int = 1) -> int:
        """Send an event to every webhook that wants it, and say how many requests that makes.

        With `times` the very same envelope is sent again, as a repeated delivery would be.
        """
        made = 0
        request_id = new_uuid()
        with self._state.lock:
            for webhook in list(self._state.webhooks.values()):
                envelope = {
                    "sequenceId": 1,
                    "id": event_id or new_uuid(),
                    "name": name,
                    "requestId": request_id,
                    "resource": webhook["id"],
                    "payload": payload,
                }
                if wants(webhook, envelope):
                    made += sum(self._enqueue(webhook, envelope) for _ in range(times))
        return made

    def close(self) -> None:
        """End the threads once they have finished what they are sending."""
        self.clear()
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(LONGEST_END)

    def clear(self) -> None:
        """Drop every request that has not begun."""
        while True:
            try:
                self._queue.get_nowait()
            except queue.Empty:
                return
            self._queue.task_done()

    def _enqueue(self, webhook: Json, envelope: Json) -> int:
        body = json.dumps(envelope, ensure_ascii=False).encode()
        headers = {
            "Content-Type": "application/json",
            **{header["key"]: header["value"] for header in webhook["headers"]},
            "X-Amplience-Webhook-Signature": sign(webhook["secret"], body),
        }
        for url in webhook["handlers"]:
            request = WebhookRequest(
                id=new_uuid(),
                webhook_id=webhook["id"],
                url=url,
                method=webhook["method"],
                headers=headers,
                body=body,
                envelope=envelope,
                created=self._state.now(),
            )
            self._state.webhook_requests.append(request)
            self._queue.put(request)
        return len(webhook["handlers"])

    def _run(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            while (request := self._queue.get()) is not None:
                try:
                    self._send(session, request)
                finally:
                    self._queue.task_done()
        self._queue.task_done()

    def _send(self, session: requests.Session, request: WebhookRequest) -> None:
        status, error = self._post(session, request)
        delays = self._state.options.webhook_retry_delays
        with self._state.lock:
            request.attempts.append(
                {"time": timestamp(self._state.now()), "status": status, "error": error}
            )
            tries = len(request.attempts)
            # Amplience's sample service calls 5xx retryable and a 4xx final.
            again = (status is None or status >= 500) and tries <= len(delays)
            if again:
                request.status = "RETRYING"
                self._scheduler.later(delays[tries - 1], lambda: self._queue.put(request))
            else:
                request.status = "SUCCESS" if status and 200 <= status < 300 else "FAILED"
            self._state.changed.notify_all()

    def _post(
        self, session: requests.Session, request: WebhookRequest
    ) -> tuple[int | None, str | None]:
        try:
            with session.request(
                request.method,
                request.url,
                data=request.body,
                headers=request.headers,
                timeout=self._state.options.webhook_timeout,
                allow_redirects=False,
            ) as answer:
                return answer.status_code, None
        except requests.RequestException as error:
            return None, type(error).__name__
