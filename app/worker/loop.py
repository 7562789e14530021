"""The worker loop: claim due jobs, run them in threads, heartbeat, reclaim, stop cleanly."""

from __future__ import annotations

import os
import random
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from app.db import Storage
from app.errors import StorageUnavailable
from app.observability import sentry
from app.queue import (
    Job,
    Limits,
    claim,
    deregister,
    due_times,
    heartbeat,
    reclaim,
    release,
    waiting_queues,
)
from app.worker.waking import make_bell

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Chore:
    """Something that every worker does now and then, besides jobs; twice at once does no harm."""

    name: str
    every: float
    run: Callable[[], object]


@dataclass(frozen=True)
class WorkerOptions:
    """How a worker works; all times in seconds.

    `threads` jobs run at once, at most `per_queue` of one queue, so that a slow destination cannot
    take every thread. `grace` is how long a stopping worker waits for running attempts. `idle` is
    the longest it goes without asking the database when no bell rings.
    """

    threads: int = 16
    per_queue: int | None = None
    beat_every: float = 2.5
    grace: float = 25.0
    idle: float = 1.0
    look_for_queues_every: float = 30.0


# As long as a pull waits for others that share its call.
_GATHER = 0.010


class Worker:
    """One worker process's share of the work. `run` blocks until `stop` is called."""

    def __init__(
        self,
        *,
        storage: Storage,
        run_job: Callable[[Job], None],
        queues: Iterable[str],
        limits: Mapping[str, Limits] | None = None,
        chores: Sequence[Chore] = (),
        options: WorkerOptions | None = None,
    ) -> None:
        self._storage = storage
        self._run_job = run_job
        self._options = options or WorkerOptions()
        self._per_queue = self._options.per_queue or max(1, self._options.threads // 2)
        self._limits = dict(limits or {})
        self._chores = chores
        self._known_queues = set(queues)
        self._queues = set(self._known_queues)
        self._queues_at = float("-inf")
        self.owner = f"{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
        self._running: dict[int, Job] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._beats_end = threading.Event()
        self._bell = make_bell(storage)

    def stop(self) -> None:
        """Take no new job; `run` returns when the running ones ended or the grace is over."""
        self._stopping.set()
        self._bell.ring()

    def run(self) -> None:
        """Work until `stop` is called."""
        _log.info("worker.started", worker=self.owner, threads=self._options.threads)
        beating = threading.Thread(target=self._beat_on, name="beat", daemon=True)
        beating.start()
        for chore in self._chores:
            threading.Thread(
                target=self._repeat, args=(chore,), name=chore.name, daemon=True
            ).start()
        pool = ThreadPoolExecutor(self._options.threads, thread_name_prefix="job")
        try:
            while not self._stopping.is_set():
                self._bell.wait(self._claim_due(pool))
                self._gather()
        finally:
            self._drain(pool)
            self._beats_end.set()
            beating.join(5)
            self._leave()
            self._bell.close()
            _log.info("worker.stopped", worker=self.owner)

    def _gather(self) -> None:
        """While jobs run, wait for more to end: one claim for several costs less than one each."""
        with self._lock:
            busy = len(self._running)
        if busy:
            self._stopping.wait(_GATHER)

    def _claim_due(self, pool: ThreadPoolExecutor) -> float:
        """Start what is due and fits; returns how long to wait for the bell."""
        try:
            self._refresh_queues()
            if not self._wanted(sorted(self._queues)):
                return self._options.idle  # the bell rings when a job has ended
            now, due = due_times(self._storage, sorted(self._queues), self._limits)
            wanted = self._wanted([queue for queue, at in due.items() if at <= now])
            for queue, count in wanted.items():
                for job in self._claim(queue, count):
                    self._start(pool, job)
        except StorageUnavailable as error:
            _log.warning("worker.storage-unavailable", detail=str(error))
            return min(1.0, self._options.idle)
        except Exception:  # noqa: BLE001 - a worker that ends leaves its jobs to their leases
            _log.exception("worker.claim-crashed")
            return min(1.0, self._options.idle)
        later = [(at - now) / 1000 for at in due.values() if at > now]
        return max(0.001, min([self._options.idle, *later]))

    def _claim(self, queue: str, count: int) -> list[Job]:
        """Claim jobs of one queue, and start them before the next one is asked for.

        A worker that was stopped in the middle of a claim keeps its locks for seconds, and only
        those of its own queue are waited for.
        """
        with self._lock:
            suspect = not any(job.is_suspect for job in self._running.values())
        try:
            return claim(
                self._storage,
                owner=self.owner,
                wanted={queue: count},
                limits=self._limits,
                suspect=suspect,
            )
        except StorageUnavailable as error:
            _log.warning("worker.claim-failed", lane=queue, detail=str(error))
            return []

    def _refresh_queues(self) -> None:
        # Jobs of a rule or destination that was removed must not wait unseen: their queues are
        # worked as well, and the action says what is missing.
        if time.monotonic() - self._queues_at > self._options.look_for_queues_every:
            self._queues = self._known_queues | waiting_queues(self._storage)
            self._queues_at = time.monotonic()

    def _wanted(self, queues: list[str]) -> dict[str, int]:
        """Share the free threads among the queues that have due jobs, in random order."""
        with self._lock:
            busy = Counter(job.queue for job in self._running.values())
        free = self._options.threads - busy.total()
        random.shuffle(queues)
        wanted: dict[str, int] = {}
        for position, queue in enumerate(queues):
            fair = -(-free // (len(queues) - position))
            count = min(fair, self._per_queue - busy[queue])
            if count > 0:
                wanted[queue] = count
                free -= count
        return wanted

    def _start(self, pool: ThreadPoolExecutor, job: Job) -> None:
        with self._lock:
            self._running[job.id] = job
        pool.submit(self._run_one, job)

    def _run_one(self, job: Job) -> None:
        try:
            self._run_job(job)
        except Exception:  # noqa: BLE001 - a thread that dies here would say nothing
            # The runner records every known failure; this is the last wall. The lease runs out.
            _log.exception("worker.job-escaped", job_id=job.id)
        finally:
            with self._lock:
                if self._running.get(job.id) is job:
                    del self._running[job.id]
            self._bell.ring()

    def _beat_on(self) -> None:
        while True:
            try:
                self._beat_once()
            except StorageUnavailable as error:
                _log.warning("worker.beat-missed", detail=str(error))
            except Exception:  # noqa: BLE001 - without beats its jobs would be taken from it for ever
                _log.exception("worker.beat-failed")
            if self._beats_end.wait(self._options.beat_every):
                return

    def _repeat(self, chore: Chore) -> None:
        # Not all workers of a deploy at the same moment.
        pause = random.uniform(0, min(chore.every, 60))  # noqa: S311 - no secret
        while not self._stopping.wait(pause):
            try:
                chore.run()
            except Exception:  # noqa: BLE001 - a chore that fails is tried again, and seen
                _log.exception("chore.failed", chore=chore.name)
            pause = chore.every

    def _beat_once(self) -> None:
        with self._lock:
            running = dict(self._running)
        host, asked_at = socket.gethostname(), time.monotonic()
        own = heartbeat(
            self._storage, owner=self.owner, host=host, pid=os.getpid(), running=sorted(running)
        )
        for job in running.values():
            if own.get(job.id) == job.attempt:
                job.lease.renewed(asked_at)
        if taken := reclaim(self._storage):
            _log.warning("jobs.taken-over", jobs=sorted(taken))
            for job_id in [job_id for job_id, state in taken.items() if state == "dead"]:
                _log.error("job.dead", job_id=job_id, reason="poison")
                sentry.report("job is dead", reason="poison", job_id=job_id)
            self._bell.ring()

    def _drain(self, pool: ThreadPoolExecutor) -> None:
        _log.info("worker.stopping", worker=self.owner, running=len(self._running))
        deadline = time.monotonic() + self._options.grace
        while self._running and time.monotonic() < deadline:
            time.sleep(0.05)
        # Threads that are still at work end with the process; their jobs are given back below,
        # and the fence keeps what they may still write from counting.
        pool.shutdown(wait=False, cancel_futures=True)

    def _leave(self) -> None:
        try:
            if left := release(self._storage, owner=self.owner):
                _log.warning("jobs.released", count=left)
            deregister(self._storage, owner=self.owner)
        except StorageUnavailable as error:
            _log.warning("worker.left-without-word", detail=str(error))
