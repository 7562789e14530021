"""Who may operate the service: one token, compared in constant time, wrong tries slowed down."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import structlog
from flask import Flask, Response, request

from app.web.errors import problem

# Wrong tries that an address has at once, and seconds until it has one more.
TRIES = 10
SECONDS_PER_TRY = 6.0
# Whoever changes addresses must not fill our memory; the one that was quiet longest is forgotten.
_MOST_ADDRESSES = 10_000

_log = structlog.get_logger(__name__)

Verdict = Literal["admitted", "missing", "wrong", "slowed"]


@dataclass
class _Bucket:
    tries: float
    at: float


class AdminGate:
    """Admits who has the admin token; without one set there is nothing to be admitted to.

    An address with too many wrong tries is refused whatever it offers, so that guessing is slow.
    The count is of one process, so that with several of them there are as many times more tries.
    """

    def __init__(self, token: str | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._digest = None if token is None else _digest(token)
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def exists(self) -> bool:
        """Whether a token is set."""
        return self._digest is not None

    def admit(self, offered: str | None, *, address: str) -> Verdict:
        """Judge a token that `address` offers."""
        if self._digest is None or not offered:
            return "missing"
        if self.seconds_to_wait(address) > 0:
            return "slowed"
        # Digests are of one length, so that the time tells nothing of the token's either.
        if hmac.compare_digest(self._digest, _digest(offered)):
            return "admitted"
        self._spend(address)
        return "wrong"

    def seconds_to_wait(self, address: str) -> int:
        """Whole seconds until the address may try again; 0 when it may now."""
        with self._lock:
            bucket = self._buckets.get(address)
            tries = TRIES if bucket is None else self._filled(bucket)
        return 0 if tries >= 1 else math.ceil((1 - tries) * SECONDS_PER_TRY)

    def _filled(self, bucket: _Bucket) -> float:
        return min(TRIES, bucket.tries + (self._clock() - bucket.at) / SECONDS_PER_TRY)

    def _spend(self, address: str) -> None:
        with self._lock:
            bucket = self._buckets.pop(address, None)
            tries = TRIES if bucket is None else self._filled(bucket)
            self._buckets[address] = _Bucket(max(0.0, tries - 1), self._clock())
            if len(self._buckets) > _MOST_ADDRESSES:
                self._buckets.popitem(last=False)


def caller_address() -> str:
    """The address that the request comes from, for slowing wrong tries down.

    A public address is taken as it is. A private one is a router in front of us, which adds the
    caller's to `X-Forwarded-For` at the end; what stands before that may be forged.
    """
    direct = request.remote_addr or ""
    forwarded = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    try:
        if forwarded and ipaddress.ip_address(direct).is_private:
            return str(ipaddress.ip_address(forwarded))
    except ValueError:
        return direct
    return direct


def bearer_token() -> str | None:
    """The token of an `Authorization: Bearer` header (RFC 6750), if there is one."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def refusal(gate: AdminGate) -> Response | None:
    """Refuse the request unless it carries the admin token; None lets it through."""
    if not gate.exists:
        return problem(status=404, reason="not-found", detail="There is nothing at this address.")
    address = caller_address()
    verdict = gate.admit(bearer_token(), address=address)
    if verdict == "admitted":
        return None
    _log.warning("token.refused", why=verdict, address=address)
    if verdict == "slowed":
        answer = problem(
            status=429,
            reason="too-many-tries",
            detail="Too many wrong tokens came from this address. Wait, then try again.",
        )
        answer.headers["Retry-After"] = str(max(1, gate.seconds_to_wait(address)))
        return answer
    answer = problem(
        status=401,
        reason=f"token-{verdict}",
        detail="Send the admin token as `Authorization: Bearer TOKEN`.",
    )
    answer.headers["WWW-Authenticate"] = 'Bearer realm="dc-relay"'
    return answer


def guard_paths(app: Flask, gate: AdminGate, *, prefix: str, open_paths: frozenset[str]) -> None:
    """Let nobody without the token see anything under `prefix`: not even which paths there are.

    `open_paths` need no token; they are there only if one is set.
    """

    def guard() -> Response | None:
        if not request.path.startswith(prefix):
            return None
        if gate.exists and request.path in open_paths:
            return None
        return refusal(gate)

    app.before_request(guard)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
