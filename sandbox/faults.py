"""Makes chosen calls go wrong: statuses, delays, closed connections, answers that never come.

Decides which fault a call meets and checks what is asked for; `front` carries it out.
"""

import fnmatch
import random
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from sandbox.errors import Json, control_error
from sandbox.models import new_hex

PLACES = ("auth", "management", "cdn", "fresh", "staging", "downstream")
KINDS = ("status", "delay", "reset", "hang", "accept_then_fail")
ANSWERS = ("status", "reset")


@dataclass
class Fault:
    """One thing that goes wrong, for the calls it matches, so many times."""

    where: str
    kind: str
    method: str | None = None
    path: str | None = None
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    body: object = None
    seconds: float = 60
    times: int | None = None
    probability: float = 1
    answer: str = "status"
    """After `accept_then_fail`: answer with the status, or `reset` the connection."""
    id: str = field(default_factory=new_hex)
    hits: int = 0

    def matches(self, where: str, method: str, path: str) -> bool:
        """Tell whether a call is one of those that this fault is for."""
        if self.where != where or (self.method or method).upper() != method:
            return False
        if self.times is not None and self.hits >= self.times:
            return False
        if self.path is None or self.path in path:
            return True
        return fnmatch.fnmatchcase(path, self.path)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "where": (lambda value: value in PLACES, f"one of {', '.join(PLACES)}"),
    "kind": (lambda value: value in KINDS, f"one of {', '.join(KINDS)}"),
    "method": (lambda value: value is None or isinstance(value, str), "an HTTP method, or leave"),
    "path": (
        lambda value: value is None or isinstance(value, str),
        "part of a path, or a pattern such as */localize",
    ),
    "status": (
        lambda value: _is_whole(value) and 200 <= value <= 599,
        "a status from 200 to 599",
    ),
    "headers": (
        lambda value: (
            isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
        ),
        'an object of texts, such as {"Retry-After": "2"}',
    ),
    "body": (lambda value: value is None or isinstance(value, (str, dict, list)), "text or JSON"),
    "seconds": (lambda value: _is_number(value) and value >= 0, "a number from 0 up"),
    "times": (
        lambda value: value is None or (_is_whole(value) and value >= 1),
        "a whole number from 1 up, or null for always",
    ),
    "probability": (lambda value: _is_number(value) and 0 < value <= 1, "a number up to 1"),
    "answer": (lambda value: value in ANSWERS, f"one of {', '.join(ANSWERS)}"),
}


def read(given: Json) -> Fault:
    """Check a fault that was asked for, or refuse, saying which field and what to write."""
    for name in ("where", "kind"):
        if name not in given:
            raise control_error(name, f"is required; write {CHECKS[name][1]}")
    for name, value in given.items():
        if name not in CHECKS:
            raise control_error(name, f"is not known; write one of {', '.join(CHECKS)}")
        passes, wanted = CHECKS[name]
        if not passes(value):
            raise control_error(name, f"write {wanted}")
    return Fault(**given)


class Faults:
    """The faults that are switched on, in the order in which they were."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: dict[str, Fault] = {}
        self._closing = threading.Event()

    def add(self, **given: Any) -> str:
        """Switch a fault on and give its id."""
        fault = read(given)
        with self._lock:
            self._faults[fault.id] = fault
        return fault.id

    def remove(self, fault_id: str) -> bool:
        """Switch one off."""
        with self._lock:
            return self._faults.pop(fault_id, None) is not None

    def clear(self) -> None:
        """Switch all off."""
        with self._lock:
            self._faults.clear()

    def listed(self) -> list[Json]:
        """Show them all, with how often each was met."""
        with self._lock:
            return [asdict(fault) for fault in self._faults.values()]

    def take(self, where: str, method: str, path: str) -> Fault | None:
        """Give the first fault that this call meets, and count it."""
        with self._lock:
            for fault in self._faults.values():
                if fault.matches(where, method, path) and random.random() <= fault.probability:  # noqa: S311
                    fault.hits += 1
                    return fault
        return None

    def wait(self, seconds: float) -> None:
        """Hold a call back, at most until the sandbox ends."""
        self._closing.wait(seconds)

    def close(self) -> None:
        """Let go of every call that is held back."""
        self._closing.set()
