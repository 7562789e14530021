"""Send a message to a destination, once, and say what came of it.

What `requests` raises, and every status that is not a success, leaves here as an error of
`app.errors`. Nothing that may be secret is in it: an address can be a secret as a whole (build
hooks, chat webhooks), and so can every header. This module must not know when to try again.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from http.cookiejar import DefaultCookiePolicy
from threading import Lock
from typing import TYPE_CHECKING

import requests
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import ConnectTimeoutError, HTTPError
from urllib3.util import Timeout

from app import __version__
from app.config import Destination
from app.config.request_fields import is_broker
from app.destinations.answers import LONGEST_EXCERPT, Answer, refusal
from app.destinations.connection import AddressRefused, DestinationAdapter
from app.destinations.hiding import hidden, host_of, masked_url, secrets_of
from app.destinations.message import Message
from app.destinations.rendering import Request, request_of
from app.destinations.signing import UnusableSecret, signed_headers
from app.errors import (
    DestinationError,
    DestinationRefused,
    DestinationUnavailable,
)
from app.observability import tracing
from app.retry import retry_after

if TYPE_CHECKING:
    from app.destinations.brokers import BrokerClient

__all__ = [
    "PRIVATE_ADDRESS",
    "Answer",
    "DestinationClient",
    "client_certificate",
    "masked_url",
]

LONGEST_BODY = 64 * 1024
# Hosts whose connections are kept, and connections to each: as many as a worker has threads.
POOLS = 64
POOL_SIZE = 16
PRIVATE_ADDRESS = (
    "address is private; set allow_private = true (FORWARD_ALLOW_PRIVATE=1) if it is yours"
)
# That it is not there, after a DELETE.
_ABSENT = frozenset({404, 410})
_GZIP = "gzip"
# What stands in for an HTTP method where the message goes to a queue.
_PUBLISH = "PUBLISH"


class DestinationClient:
    """Sends to any destination, safe to share between threads; connections are kept.

    Redirects are not followed, proxies and ~/.netrc of the environment are not used, and cookies
    are not kept.
    """

    def __init__(self) -> None:
        self._guarded = _session(allow_private=False)
        self._open = _session(allow_private=True)
        self._lock = Lock()
        self._opened_brokers: BrokerClient | None = None

    def close(self) -> None:
        """Close the kept connections."""
        self._guarded.close()
        self._open.close()
        if self._opened_brokers is not None:
            self._opened_brokers.close()

    def send(self, destination: Destination, message: Message, *, now: datetime) -> Answer:
        """Send `message` and return the answer, which is a 2xx.

        `now` goes into the signature and is of this attempt. Not longer than about the
        destination's `timeout`, also where it answers byte by byte; once the status is here it
        decides, and a body that does not end is cut off.

        Raises DestinationGone (410), DestinationUnavailable (408, 425, 429, 5xx, no answer; with
        `retry_after` in seconds), DestinationRefused (any other status; a private address; an
        address, header or secret that cannot be used), TemplateFailed. To a DELETE of what is gone
        404 and 410 are good answers.
        """
        request = request_of(destination, message)
        queued = is_broker(request.url)
        with tracing.call(
            _PUBLISH if queued else request.method,
            host_of(request.url),
            kind="producer" if queued else "client",
        ) as span:
            return self._send(destination, _traced(request, span), message, span, now=now)

    def _send(
        self,
        destination: Destination,
        request: Request,
        message: Message,
        span: tracing.Span,
        *,
        now: datetime,
    ) -> Answer:
        started = time.monotonic()
        try:
            if is_broker(request.url):
                return self._queue(destination, request, message, started, now=now)
            secrets = secrets_of(destination, request)
            headers = _headers(destination, request, message.webhook_id, now=now)
            status, answer_headers, body = self._exchange(destination, request, headers)
        # None is chained: such errors quote the address or the header that they dislike.
        except (AddressRefused, UnusableSecret, ValueError) as problem:
            raise _unsendable(destination, request, problem) from None
        except (OSError, HTTPError) as problem:  # requests' own errors are of the first kind
            raise _unanswered(destination, request, problem, started) from None
        tracing.answered(span, status)
        answer = Answer(
            status=status,
            body=hidden(body.decode("utf-8", "replace"), secrets)[:LONGEST_EXCERPT],
            milliseconds=_since(started),
            method=request.method,
            url=masked_url(request.url),
            bytes=len(request.body),
        )
        absent = request.absent_is_done and status in _ABSENT
        if not 200 <= status < 300 and not absent:
            raise refusal(
                destination, answer, status, retry_after(answer_headers.get("Retry-After"))
            )
        return answer

    def _queue(
        self,
        destination: Destination,
        request: Request,
        message: Message,
        started: float,
        *,
        now: datetime,
    ) -> Answer:
        signed = Message(request.body, request.content_type or "", message.webhook_id)
        headers = dict(request.headers)
        headers.update(signed_headers(signed, destination.signing_secrets, now=now))
        try:
            told = self._brokers().send(destination, request, headers)
        except DestinationError as problem:
            problem.exchange = {**_attempted(request), "milliseconds": _since(started)}
            raise
        return Answer(
            status=None,
            body=told,
            milliseconds=_since(started),
            method=_PUBLISH,
            url=masked_url(request.url),
            bytes=len(request.body),
        )

    def _brokers(self) -> BrokerClient:
        with self._lock:
            if self._opened_brokers is None:
                # An extra, which need not be there; the configuration has made sure that it is.
                from app.destinations.brokers import BrokerClient  # noqa: PLC0415

                self._opened_brokers = BrokerClient()
            return self._opened_brokers

    def _exchange(
        self, destination: Destination, request: Request, headers: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        session = self._open if destination.allow_private else self._guarded
        # Prepared and sent without the session's own part in it, which costs a third of a call:
        # there are no cookies, redirects, hooks or settings of the environment to mind.
        prepared = requests.PreparedRequest()
        prepared.prepare(
            method=request.method,
            url=request.url,
            # The same bytes make the same compressed ones: there is no time in them.
            data=gzip.compress(request.body, mtime=0) if _compressed(headers) else request.body,
            headers=headers,
        )
        with session.get_adapter(str(prepared.url)).send(
            prepared,
            # requests passes urllib3's own kind of timeout on; its types do not say so.
            # No shorter one for connecting: urllib3 would apply that to sending the body as well.
            timeout=Timeout(total=destination.timeout),  # type: ignore[arg-type]
            stream=True,
            verify=destination.ca_file or True,
            cert=client_certificate(destination),
        ) as response:
            return response.status_code, response.headers, _read(response)


def client_certificate(destination: Destination) -> str | tuple[str, str] | None:
    """The PEM files that prove to the destination who we are, as `requests` takes them."""
    if destination.client_cert and destination.client_key:
        return destination.client_cert, destination.client_key
    return destination.client_cert


def _session(*, allow_private: bool) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = DestinationAdapter(allow_private=allow_private, pools=POOLS, pool_size=POOL_SIZE)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _headers(
    destination: Destination, request: Request, webhook_id: str, *, now: datetime
) -> Mapping[str, str]:
    """Ours, then the destination's own over them, then what no configuration may change.

    The signature is over the body before it is compressed: that is what receivers are handed.
    """
    headers: CaseInsensitiveDict[str] = CaseInsensitiveDict(
        {
            "User-Agent": f"dc-relay/{__version__}",
            "Accept": "*/*",
            # What is read is bounded; a small compressed answer could be a huge one.
            "Accept-Encoding": "identity",
            "Connection": "keep-alive",
        }
    )
    if request.content_type:
        headers["Content-Type"] = request.content_type
    headers.update(dict(request.headers))
    if destination.gzip and request.body:
        headers["Content-Encoding"] = _GZIP
    signed = Message(request.body, request.content_type or "", webhook_id)
    headers.update(signed_headers(signed, destination.signing_secrets, now=now))
    return headers


def _traced(request: Request, span: tracing.Span) -> Request:
    """The request with its place in a trace, unless the destination's own headers name one."""
    own = {name.lower() for name, _ in request.headers}
    if span.context is None or "traceparent" in own:
        return request
    ours = [header for header in span.context.headers.items() if header[0] not in own]
    return replace(request, headers=(*ours, *request.headers))


def _compressed(headers: Mapping[str, str]) -> bool:
    return headers.get("Content-Encoding") == _GZIP


def _since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)


def _read(response: requests.Response) -> bytes:
    """The body's beginning. One that breaks off is no failure: the status has been given."""
    body = bytearray()
    try:
        for chunk in response.iter_content(8192):
            body += chunk
            if len(body) >= LONGEST_BODY:
                break
    except (requests.RequestException, HTTPError, OSError):
        # The connection is broken or slow; the caller closes it, so that nobody gets it again.
        pass
    return bytes(body[:LONGEST_BODY])


def _unsendable(
    destination: Destination, request: Request, problem: Exception
) -> DestinationRefused:
    where = masked_url(request.url)
    if isinstance(problem, AddressRefused):
        reason = PRIVATE_ADDRESS
    elif isinstance(problem, UnusableSecret):
        reason = str(problem)
    else:
        reason = f"the address or a header cannot be used ({type(problem).__name__})"
    return DestinationRefused(
        f"{where}: {reason}", destination=destination.name, exchange=_attempted(request)
    )


def _unanswered(
    destination: Destination, request: Request, problem: Exception, started: float
) -> DestinationUnavailable:
    return DestinationUnavailable(
        f"no answer from {masked_url(request.url)}: {_what_happened(problem)}",
        destination=destination.name,
        timed_out=isinstance(problem, requests.Timeout),
        exchange={**_attempted(request), "milliseconds": _since(started)},
    )


def _attempted(request: Request) -> dict[str, object]:
    return {
        "method": _PUBLISH if is_broker(request.url) else request.method,
        "url": masked_url(request.url),
        "bytes": len(request.body),
    }


def _what_happened(problem: Exception) -> str:
    """A few words on why there was no answer; never the error's own text, which has the address."""
    causes = (problem, *problem.args, getattr(next(iter(problem.args), None), "reason", None))
    if isinstance(problem, requests.exceptions.SSLError):
        return "TLS failed"
    if isinstance(problem, requests.Timeout):
        return "timed out"
    if not isinstance(problem, requests.RequestException | HTTPError):
        return "a certificate file cannot be read"
    if any(isinstance(cause, ConnectTimeoutError) for cause in causes):
        return "could not connect"
    return "connection broke"
