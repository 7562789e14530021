"""The one room where things are built and joined: settings in, a service out.

Nothing else makes a client, an engine or a worker. What is built here is handed down by name.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import structlog

from app.actions import Action, Sending, ToDestination
from app.actions.alert import SendAlert
from app.actions.dropping import Drop, ForwardOrDrop
from app.actions.forward import Forward, ForwardTiming, HubContent
from app.actions.localize import Localize
from app.actions.unpublish import Unpublish
from app.amplience.delivery import DeliveryClient
from app.amplience.loader import ContentLoader
from app.amplience.management import ManagementClient
from app.config import (
    Destination,
    Hub,
    RetrySchedule,
    Settings,
)
from app.config.settings import AMPLIENCE_RETRY
from app.db import GroupCommit, Storage
from app.destinations.sending import DestinationClient
from app.destinations.trial import Trial, try_destination
from app.errors import StorageUnavailable
from app.events import WebhookEvent
from app.observability import webhooks_by_outcome
from app.operations.missed import MissedWebhooks
from app.queue import Accepted, Job, Limits, Readiness, accept, prune, readiness
from app.queue.history import keep_history
from app.rules import Plan
from app.worker import Chore, Runner, Worker, WorkerOptions
from app.worker.alerting import (
    RefusalAlarm,
    SignatureWatch,
    alert_limits,
    send_alerts_alone,
    tell,
    watch,
)

# A sender that gets no answer tries again, and how long it waits is not documented: so soon.
_DOOR_TIMEOUT = 1.5
# A job holds a connection for a few statements, not while it waits for others: so fewer than
# threads. With a web process's five, one of each fits the smallest hosted PostgreSQL (20).
_WORKER_CONNECTIONS = 10
WATCH_EVERY = 30.0

_log = structlog.get_logger(__name__)


class WebLedger:
    """The ledger as the web sees it: events go in, in groups; how the work goes comes out."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._group: GroupCommit[tuple[WebhookEvent, Sequence[Plan]], Accepted] = GroupCommit(
            partial(accept, storage)
        )

    def accept(self, event: WebhookEvent, plans: Sequence[Plan]) -> Accepted:
        """Commit one event with its jobs; see `GroupCommit.commit`."""
        return self._group.commit((event, plans))

    def ping(self) -> None:
        """Return if the database answers; raises `StorageUnavailable`."""
        self._storage.ping()

    def readiness(self) -> Readiness:
        """Tell how the work goes; raises `StorageUnavailable`."""
        return readiness(self._storage)

    def close(self) -> None:
        """Write what waits, then close the database."""
        self._group.close()
        self._storage.close()


@dataclass(frozen=True)
class WebServices:
    """What the web is made of."""

    settings: Settings
    ledger: WebLedger
    storage: Storage

    def send_test(self, destination: Destination) -> Trial:
        """Send a destination a test message; see `try_destination`."""
        return send_test(destination)


@dataclass(frozen=True)
class BuiltWorker:
    """A worker, the database it works on, and how to let go of everything."""

    worker: Worker
    storage: Storage
    close: Callable[[], None]


def build_web(settings: Settings) -> WebServices:
    """Build what the web needs. Call it after a fork: connections must not be shared."""
    storage = Storage(settings.database_url, timeout=_DOOR_TIMEOUT)
    return WebServices(settings, WebLedger(storage), storage)


def send_test(destination: Destination) -> Trial:
    """Send a destination a test message now, over a connection of its own."""
    with closing(DestinationClient()) as sender:
        return try_destination(sender, destination, now=datetime.now(UTC))


def build_worker(
    settings: Settings,
    *,
    options: WorkerOptions | None = None,
    forward_timing: ForwardTiming | None = None,
) -> BuiltWorker:
    """Build a worker that does the jobs of every rule.

    `forward_timing` is for tests, which cannot wait as long as the service does.
    """
    options = options or WorkerOptions(threads=settings.worker_threads)
    with ExitStack() as opened:
        storage = Storage(settings.database_url, pool_size=_WORKER_CONNECTIONS)
        opened.callback(storage.close)
        runner = Runner(
            storage=storage,
            actions=_actions(settings, opened, forward_timing),
            schedule=_schedules(settings),
            on_refusal=RefusalAlarm(settings, storage),
        )
        worker = Worker(
            storage=storage,
            run_job=runner.run,
            queues=_queues(settings),
            limits=_limits(settings),
            chores=_chores(settings, storage),
            options=options,
        )
        return BuiltWorker(worker, storage, opened.pop_all().close)
    raise AssertionError("an ExitStack swallows nothing")


def _actions(
    settings: Settings, opened: ExitStack, forward_timing: ForwardTiming | None
) -> dict[str, Action]:
    management: dict[str, ManagementClient] = {}
    content: dict[str, HubContent] = {}
    for hub in settings.hubs:
        if hub.credentials:
            client = ManagementClient(credentials=hub.credentials, hosts=settings.amplience)
            opened.callback(client.close)
            management[hub.key] = client
        if hub.delivery:
            delivery = DeliveryClient(hub.delivery)
            opened.callback(delivery.close)
            content[hub.key] = HubContent(
                ContentLoader(delivery),
                hub.delivery.source,
                published=management.get(hub.key) if hub.delivery.verify else None,
            )
    sender = DestinationClient()
    opened.callback(sender.close)
    forward = ForwardOrDrop(
        forward=Forward(hubs=content, sender=sender, clock=time.time, timing=forward_timing),
        drop=Drop(clients=management, sender=sender, clock=time.time),
    )
    return {
        "localize": Localize(
            clients=management,
            hub_ids={hub.key: hub.id for hub in settings.hubs},
            clock=time.time,
        ),
        "forward": _to_destination(settings, forward),
        "alert": _to_destination(settings, SendAlert(sender=sender, clock=time.time)),
        "unpublish": Unpublish(
            clients=management,
            per_minute=settings.publish_quota_per_minute,
            clock=time.time,
            spread=random.random,
        ),
    }


def _schedules(settings: Settings) -> Callable[[Job], RetrySchedule]:
    by_name = {place.name: place.retry for place in settings.destinations}

    def schedule(job: Job) -> RetrySchedule:
        if job.action in ("forward", "alert"):
            return by_name.get(job.target, AMPLIENCE_RETRY)
        return AMPLIENCE_RETRY

    return schedule


def _limits(settings: Settings) -> dict[str, Limits]:
    content = {
        f"forward:{place.name}": Limits(place.name, place.rate, place.concurrency)
        for place in settings.destinations
    }
    return content | alert_limits(settings)


def _chores(settings: Settings, storage: Storage) -> list[Chore]:
    older_than_ms = settings.retention_days * 86_400_000

    def prune_all() -> None:
        while prune(storage, older_than_ms=older_than_ms):
            time.sleep(0.1)  # between two batches, others may write

    return [
        *_looking_for_missed(settings, storage),
        Chore("prune", every=600, run=prune_all),
        Chore("history", every=60, run=lambda: keep_history(storage)),
        Chore("watch", every=WATCH_EVERY, run=lambda: watch(settings, storage)),
    ]


def _to_destination(settings: Settings, sending: Sending) -> Action:
    return ToDestination({place.name: place for place in settings.destinations}, sending)


def _looking_for_missed(settings: Settings, storage: Storage) -> Iterator[Chore]:
    every = settings.missed_webhooks_every
    for hub in settings.hubs:
        if every is not None and hub.credentials and hub.id:
            yield Chore(
                f"missed-{hub.key}", every, partial(_look, settings, storage, hub, every=every)
            )


def _look(settings: Settings, storage: Storage, hub: Hub, *, every: float) -> None:
    if hub.credentials is None:
        return
    with closing(ManagementClient(credentials=hub.credentials, hosts=settings.amplience)) as client:
        MissedWebhooks(
            storage=storage,
            client=client,
            hub=hub,
            rules=settings.rules,
            destinations=settings.destinations,
            clock=time.time,
        ).read_on_schedule(every=every)


def watch_from_the_web(services: WebServices) -> threading.Thread:
    """Watch from a web process as well: it lives on when the last worker is gone.

    It also sees what never reaches the ledger: webhooks whose signature is refused.
    """
    signatures = SignatureWatch()
    signatures.judge(webhooks_by_outcome(), now=time.time())

    def repeat() -> None:
        while True:
            time.sleep(WATCH_EVERY)
            try:
                look_from_the_web(services.settings, services.storage, signatures)
            except StorageUnavailable as error:
                _log.warning("watch.storage-unavailable", detail=str(error))
            except Exception:  # noqa: BLE001 - who watches others must not end at its own fault
                _log.exception("watch.failed")

    thread = threading.Thread(target=repeat, name="watch", daemon=True)
    thread.start()
    return thread


def look_from_the_web(settings: Settings, storage: Storage, signatures: SignatureWatch) -> None:
    """Look once; where no worker lives, send what is to be told as well."""
    watch(settings, storage)
    if alert := signatures.judge(webhooks_by_outcome(), now=time.time()):
        tell(settings, storage, alert)
    with closing(DestinationClient()) as sender:
        action = _to_destination(settings, SendAlert(sender=sender, clock=time.time))
        runner = Runner(storage=storage, actions={"alert": action}, schedule=_schedules(settings))
        send_alerts_alone(storage, runner, alert_limits(settings))


def _queues(settings: Settings) -> set[str]:
    """Name the queues that may have jobs: those of the rules, and those that commands can fill."""
    queues = {f"forward:{place.name}" for place in settings.destinations} | {
        *alert_limits(settings)
    }
    for hub in settings.hubs:
        if hub.credentials:
            queues |= {f"localize:{hub.key}", f"unpublish:{hub.key}"}
    return queues
