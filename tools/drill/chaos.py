"""What goes wrong in the drill: processes are killed, the store crashes, the world fails."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.emulator import SandboxServer
from tools.processes import alive, descendants, start_of
from tools.service import HERE, ROOT
from tools.stores import Store

# Each call of a kind meets at most one of these; the numbers are probabilities.
FAULTS: tuple[tuple[str, dict[str, object]], ...] = (
    ("fresh", {"kind": "status", "status": 503, "probability": 0.05}),
    (
        "fresh",
        {"kind": "status", "status": 429, "headers": {"Retry-After": "1"}, "probability": 0.03},
    ),
    ("fresh", {"kind": "reset", "probability": 0.03}),
    ("fresh", {"kind": "hang", "seconds": 2, "probability": 0.01}),
    ("auth", {"kind": "status", "status": 500, "probability": 0.05}),
    ("management", {"kind": "status", "status": 500, "probability": 0.01}),
    ("management", {"kind": "reset", "probability": 0.01}),
    (
        "management",
        {"kind": "accept_then_fail", "path": "*/localize", "answer": "reset", "probability": 0.05},
    ),
    ("downstream", {"kind": "status", "status": 500, "probability": 0.05}),
    (
        "downstream",
        {"kind": "status", "status": 429, "headers": {"Retry-After": "1"}, "probability": 0.03},
    ),
    ("downstream", {"kind": "reset", "probability": 0.03}),
    ("downstream", {"kind": "hang", "seconds": 2, "probability": 0.01}),
    ("downstream", {"kind": "accept_then_fail", "answer": "reset", "probability": 0.02}),
)
KILL_EVERY = (3.0, 8.0)
# Where only web processes are killed, they are killed more often.
KILL_WEB_EVERY = (1.0, 2.0)
# A parent ends its children with it, so it is killed less often.
WEIGHTS = {"web": 3, "worker": 6, "serve": 1, "other": 0.01, "gone": 0.01}
STORE_EVERY = 15.0
FLAP_EVERY, FLAP_FOR = 15.0, 3.0
FLAPPING = "/downstream/flapping"


class Keeper:
    """Keeps processes running, as a platform does: what ended is started again."""

    def __init__(
        self, commands: Mapping[str, Sequence[str]], environ: Mapping[str, str], directory: Path
    ) -> None:
        self._commands = commands
        self._environ = {**environ, "PYTHONPATH": str(ROOT)}
        self._directory = directory
        self._log = (directory / "service.log").open("ab")
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        # Also those whose parent was killed, with the time of their start: a pid is used again.
        self._seen: set[tuple[int, str]] = set()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="keeper")
        self._thread.start()

    def _keep(self) -> None:
        while not self._ending.wait(0.2):
            for name in self._commands:
                running = self._processes.get(name)
                if running is None or running.poll() is not None:
                    self._processes[name] = self._started(name)

    def _started(self, name: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            (HERE.python, *self._commands[name]),
            env=self._environ,
            cwd=self._directory,
            stdout=self._log,
            stderr=self._log,
        )

    def pids(self) -> list[int]:
        """Every process that runs, children too."""
        tops = [process.pid for process in list(self._processes.values())]
        found = {pid for top in tops for pid in (top, *descendants(top)) if alive(pid)}
        self._seen |= {(pid, start_of(pid)) for pid in found}
        return sorted(found)

    def below(self) -> list[int]:
        """Every process that runs and that the keeper did not start itself."""
        tops = {process.pid for process in list(self._processes.values())}
        return [pid for pid in self.pids() if pid not in tops]

    def close(self) -> None:
        """End everything, and kill what does not end."""
        self._ending.set()
        self._thread.join()
        self.pids()
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
        for pid, start in self._seen:
            if alive(pid) and start_of(pid) == start:
                _kill(pid)
        for process in self._processes.values():
            process.wait()
        self._log.close()


class Chaos:
    """Makes everything fail until it is closed. `counted` says how often what happened."""

    def __init__(
        self, keeper: Keeper, emulator: SandboxServer, store: Store, *, only_web: bool
    ) -> None:
        self._only_web = only_web
        self.counted: Counter[str] = Counter()
        self._keeper = keeper
        self._emulator = emulator
        self._store = store
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=trouble, name=trouble.__name__)
            for trouble in (self._kill, self._crash, self._flap)
        ]

    def __enter__(self) -> Chaos:
        self._switch(FAULTS)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._switch(())

    def _switch(self, faults: Sequence[tuple[str, Mapping[str, object]]]) -> None:
        """Count what the faults so far did, and put others in their place."""
        for fault in self._emulator.faults.listed():
            self.counted["faults"] += fault["hits"]
        self._emulator.faults.clear()
        for where, given in faults:
            self._emulator.faults.add(where=where, **given)

    def _kill(self) -> None:
        every = KILL_WEB_EVERY if self._only_web else KILL_EVERY
        while not self._over.wait(random.uniform(*every)):  # noqa: S311 - not secret
            kinds = {pid: kind_of(pid) for pid in self._keeper.pids()}
            if self._only_web:
                # gunicorn's own workers: its master holds no request.
                kinds = {pid: "web" for pid in self._keeper.below() if kinds.get(pid) == "web"}
            if kinds:
                weights = [WEIGHTS[kind] for kind in kinds.values()]
                [pid] = random.choices(list(kinds), weights)  # noqa: S311
                if _kill(pid):
                    self.counted[kinds[pid]] += 1

    def _crash(self) -> None:
        while not self._over.wait(STORE_EVERY):
            self._store.restart()

    def _flap(self) -> None:
        away = ("downstream", {"kind": "status", "status": 503, "path": FLAPPING})
        while not self._over.wait(FLAP_EVERY):
            self._switch((away, *FAULTS))
            self._over.wait(FLAP_FOR)
            self._switch(FAULTS)


def kind_of(pid: int) -> str:
    """What a process is, by its command line."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return "gone"
    for kind in ("gunicorn", "worker", "serve"):
        if kind in command:
            return "web" if kind == "gunicorn" else kind
    return "other"


def _kill(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False
