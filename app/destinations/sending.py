"""Send a message to a destination, once, and say what came of it.

What `requests` raises, and every status that is not a success, leaves here as an error of
`app.errors`. Nothing that may be secret is in it: an address can be a secret as a whole (build
hooks, chat webhooks), and so can every header. This module must not know when to try again.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from http.cookiejar import DefaultCookiePolicy
from urllib.parse import unquote, urlsplit

import requests
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import ConnectTimeoutError, HTTPError
from urllib3.util import Retry, Timeout

from app import __version__
from app.config import Destination
from app.destinations.connection import AddressRefused, DestinationAdapter
from app.destinations.message import Message
from app.destinations.signing import UnusableSecret, signed_headers
from app.errors import (
    DestinationError,
    DestinationGone,
    DestinationRefused,
    DestinationUnavailable,
)

LONGEST_BODY = 64 * 1024
LONGEST_EXCERPT = 2000
LONGEST_RETRY_AFTER = 86_400
# Hosts whose connections are kept, and connections to each: as many as a worker has threads.
POOLS = 64
POOL_SIZE = 16
PRIVATE_ADDRESS = (
    "address is private; set allow_private = true (FORWARD_ALLOW_PRIVATE=1) if it is yours"
)
# What a peer may ask us to repeat later (with the 5xx).
_LATER = frozenset({408, 425, 429})
# Too short to be a secret, and too likely to be a word.
_SHORTEST_SECRET = 6
_PLAIN_HEADERS = frozenset({"accept", "accept-language", "content-type", "user-agent"})


@dataclass(frozen=True)
class Answer:
    """What a destination answered: the beginning of its body, and how long it all took."""

    status: int
    body: str = field(repr=False)
    milliseconds: int


class DestinationClient:
    """Sends to any destination, safe to share between threads; connections are kept.

    Redirects are not followed, proxies and ~/.netrc of the environment are not used, and cookies
    are not kept.
    """

    def __init__(self) -> None:
        self._guarded = _session(allow_private=False)
        self._open = _session(allow_private=True)

    def close(self) -> None:
        """Close the kept connections."""
        self._guarded.close()
        self._open.close()

    def send(self, destination: Destination, message: Message, *, now: datetime) -> Answer:
        """Send `message` and return the answer, which is a 2xx.

        `now` goes into the signature and is of this attempt. Not longer than about the
        destination's `timeout`, also where it answers byte by byte; once the status is here it
        decides, and a body that does not end is cut off.

        Raises DestinationGone (410), DestinationUnavailable (408, 425, 429, 5xx, no answer; with
        `retry_after` in seconds), DestinationRefused (any other status; a private address; an
        address, header or secret that cannot be used).
        """
        started = time.monotonic()
        try:
            secrets = _secrets_of(destination)
            headers = _headers(destination, message, now=now)
            status, answer_headers, body = self._exchange(destination, message, headers)
        # Neither is chained: such errors quote the address or the header that they dislike.
        except (AddressRefused, UnusableSecret, ValueError) as problem:
            raise _unsendable(destination, problem) from None
        except (requests.RequestException, HTTPError) as problem:
            raise DestinationUnavailable(
                f"no answer from {masked_url(destination.url)}: {_what_happened(problem)}",
                destination=destination.name,
                timed_out=isinstance(problem, requests.Timeout),
            ) from None
        answer = Answer(
            status=status,
            body=_hidden(body.decode("utf-8", "replace"), secrets)[:LONGEST_EXCERPT],
            milliseconds=round((time.monotonic() - started) * 1000),
        )
        if not 200 <= status < 300:
            raise _refusal(destination, answer, retry_after(answer_headers.get("Retry-After")))
        return answer

    def _exchange(
        self, destination: Destination, message: Message, headers: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        session = self._open if destination.allow_private else self._guarded
        with session.request(
            destination.method,
            destination.url,
            data=message.body,
            headers=headers,
            # requests passes urllib3's own kind of timeout on; its types do not say so.
            # No shorter one for connecting: urllib3 would apply that to sending the body as well.
            timeout=Timeout(total=destination.timeout),  # type: ignore[arg-type]
            allow_redirects=False,
            stream=True,
        ) as response:
            return response.status_code, response.headers, _read(response)


def masked_url(url: str) -> str:
    """`https://host:port/…`: an address with nothing in it that may be secret."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "…"
    return f"{parts.scheme}://{parts.hostname}{port}/…" if parts.hostname else "…"


def retry_after(header: str | None) -> float | None:
    """Seconds to wait, of a `Retry-After` header in either form (RFC 9110, section 10.2.3).

    None where the header is missing or makes no sense; at most a day.
    """
    if header is None:
        return None
    try:
        return float(Retry(retry_after_max=LONGEST_RETRY_AFTER).parse_retry_after(header))
    except (HTTPError, ValueError, OverflowError):
        return None


def _session(*, allow_private: bool) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = DestinationAdapter(allow_private=allow_private, pools=POOLS, pool_size=POOL_SIZE)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _headers(destination: Destination, message: Message, *, now: datetime) -> Mapping[str, str]:
    """Ours, then the destination's own over them, then what no configuration may change."""
    headers: CaseInsensitiveDict[str] = CaseInsensitiveDict(
        {
            "User-Agent": f"dc-relay/{__version__}",
            "Accept": "*/*",
            # What is read is bounded; a small compressed answer could be a huge one.
            "Accept-Encoding": "identity",
            "Content-Type": message.content_type,
        }
    )
    headers.update(dict(destination.headers))
    headers.update(signed_headers(message, destination.signing_secrets, now=now))
    return headers


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


def _refusal(destination: Destination, answer: Answer, wait: float | None) -> DestinationError:
    status = answer.status
    if status in _LATER or status >= 500:
        kind: type[DestinationError] = DestinationUnavailable
    else:
        kind = DestinationGone if status == 410 else DestinationRefused
        wait = None
    note = " (redirects are not followed)" if 300 <= status < 400 else ""
    return kind(
        f"{masked_url(destination.url)} answered {status}{note}",
        destination=destination.name,
        status=status,
        retry_after=wait,
        answer=answer.body,
    )


def _unsendable(destination: Destination, problem: Exception) -> DestinationRefused:
    where = masked_url(destination.url)
    if isinstance(problem, AddressRefused):
        reason = PRIVATE_ADDRESS
    elif isinstance(problem, UnusableSecret):
        reason = str(problem)
    else:
        reason = f"the address or a header cannot be used ({type(problem).__name__})"
    return DestinationRefused(f"{where}: {reason}", destination=destination.name)


def _what_happened(problem: Exception) -> str:
    """A few words on why there was no answer; never the error's own text, which has the address."""
    causes = (problem, *problem.args, getattr(next(iter(problem.args), None), "reason", None))
    if isinstance(problem, requests.exceptions.SSLError):
        return "TLS failed"
    if isinstance(problem, requests.Timeout):
        return "timed out"
    if any(isinstance(cause, ConnectTimeoutError) for cause in causes):
        return "could not connect"
    return "connection broke"


def _secrets_of(destination: Destination) -> list[str]:
    """What must not be repeated from an answer: some receivers echo all that they are sent."""
    found = set(_secret_parts(destination))
    # Longest first, so that no part of one is left when another is inside it.
    return sorted((part for part in found if len(part) >= _SHORTEST_SECRET), key=len, reverse=True)


def _secret_parts(destination: Destination) -> Iterator[str]:
    yield from destination.signing_secrets
    for name, value in destination.headers:
        if name.lower() not in _PLAIN_HEADERS:
            yield value
            yield from value.split()
    parts = urlsplit(destination.url)
    yield from (parts.path, parts.query, parts.username or "", parts.password or "")
    yield from (pair.partition("=")[2] for pair in parts.query.split("&"))
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        yield base64.b64encode(pair.encode()).decode()


def _hidden(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return text
