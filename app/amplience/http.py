"""The one seam to Amplience: a call is built, performed and its answer read, each apart.

Only `AmplienceHttp.perform` does I/O; the rest is pure. What `requests` raises, and every status
that is not a success, leaves here as an error of `app.errors`.
Nothing is tried again here: waiting is the queue's work.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ReadTimeoutError,
)

from app import __version__
from app.errors import (
    AmplienceError,
    NotFound,
    RateLimited,
    Refused,
    Unauthorized,
    Unavailable,
    VersionConflict,
)
from app.observability import tracing
from app.retry import retry_after
from app.transport import POOL_CLASSES, before_sending

USER_AGENT = f"dc-relay/{__version__}"
# Connecting: a little over one TCP retransmission. The whole answer: Content Delivery 2 gives up by
# itself after 10 s (https://amplience.com/developers/docs/apis/limits), and we want its answer, not
# ours.
TIMEOUT = (3.05, 15.0)
# No fewer connections than a worker has threads, so that none is opened and thrown away.
POOL_SIZE = 64
LONGEST_TEXT = 300
VERSION_NOT_LATEST = "CONTENT_ITEM_VERSION_NOT_LATEST"
_CODE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")
# A call that names one item; a list of items or a search names none.
_OF_ITEM = re.compile(r"(/snapshots/[^/]+)?/content-items/.+|/content/(id|key)/.+")


@dataclass(frozen=True)
class Call:
    """One request to make: `path` starts with a slash and is appended to the base address.

    At most one of `json` and `form` is given. `headers` may hold secrets, so `repr` leaves them
    and the body out. `only_reads` marks a POST that changes nothing.
    """

    method: str
    path: str
    query: Mapping[str, str | int] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    json: Any = field(default=None, repr=False)
    form: Mapping[str, str] | None = field(default=None, repr=False)
    only_reads: bool = False

    @property
    def changes_nothing(self) -> bool:
        """Whether it does no harm to have been carried out unnoticed (RFC 9110, section 9.2.1)."""
        return self.only_reads or self.method in ("GET", "HEAD")

    @property
    def names_item(self) -> bool:
        """Whether the call is about one content item, so that its refusal may be about it too."""
        return _OF_ITEM.fullmatch(self.path) is not None


@dataclass(frozen=True)
class HttpAnswer:
    """What came back: `headers` are found in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether the status is one of the 200s."""
        return 200 <= self.status < 300


class _DeadlineAdapter(HTTPAdapter):
    """Makes connections whose answers have one deadline in total, also through a proxy."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = POOL_CLASSES

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):  # which needs connections of its own
            manager.pool_classes_by_scheme = POOL_CLASSES
        return manager


class AmplienceHttp:
    """One Amplience host, on kept connections, for all threads of a process.

    `timeout` is for connecting and for the whole answer, in seconds: an answer that comes byte by
    byte is cut off as well.

    Nothing is ever sent to another host: paths are appended to `base_url` and redirects are not
    followed, so a token cannot leave.
    """

    def __init__(self, base_url: str, *, timeout: tuple[float, float] = TIMEOUT) -> None:
        self._base = base_url.rstrip("/")
        self._timeout = timeout
        self._session = requests.Session()
        # One session for all threads is safe because its state is never written after this line:
        # the connection pool locks for itself, and cookies, the other state, are refused.
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = _DeadlineAdapter(pool_maxsize=POOL_SIZE)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)
        # Proxies and bundles of the environment, read once: for each call, it would be a quarter
        # of the call.
        given = self._session.merge_environment_settings(self._base, {}, None, None, None)
        self._session.proxies.update(given["proxies"])
        self._session.verify = given["verify"]
        self._session.trust_env = False
        self.host = urlsplit(self._base).netloc.rpartition("@")[2]

    def perform(self, call: Call) -> HttpAnswer:
        """Send `call` and return the answer, whatever its status.

        Raises Unavailable when there is no answer (`maybe_done` unless the call surely never
        left, or changes nothing), Refused when the call cannot be sent at all.
        """
        # A path is made of ids and delivery keys, as in our own messages.
        with (
            tracing.call(call.method, self.host, path=call.path) as span,
            # A read does no harm, and other attempts may share it.
            before_sending(None) if call.changes_nothing else nullcontext(),
        ):
            answer = self._exchange(call, traced=tracing.headers(span))
            tracing.answered(span, answer.status)
            return answer

    def _exchange(self, call: Call, *, traced: Mapping[str, str]) -> HttpAnswer:
        given = {"User-Agent": USER_AGENT, "Accept": "application/json", **traced, **call.headers}
        try:
            answer = self._session.request(
                call.method,
                self._base + call.path,
                params=call.query or None,
                headers=given,
                json=call.json,
                data=call.form,
                auth=_leave_as_is,
                timeout=self._timeout,
                allow_redirects=False,
            )
        # Not chained: the message of such an error quotes the header it dislikes, token and all.
        except ValueError as problem:
            raise Refused(
                f"{self.host}: the call cannot be sent ({type(problem).__name__})"
            ) from None
        except (requests.RequestException, HTTPError) as problem:
            raise Unavailable(
                f"no answer from {self.host}: {_what_happened(problem)}",
                maybe_done=not call.changes_nothing and not _never_left(problem),
            ) from problem
        return HttpAnswer(
            status=answer.status_code,
            headers=CaseInsensitiveDict(answer.headers),
            body=answer.content,
        )

    def close(self) -> None:
        """Close the kept connections."""
        self._session.close()


def read_json(answer: HttpAnswer, *, call: Call, hide: str = "") -> Any:
    """The JSON of a successful answer; None for an empty one.

    Raises the error that fits for any other status, and Unavailable when a success carries no
    JSON (a gateway's page, most often). `hide` is left out of every message.
    """
    if not answer.ok:
        raise error_of(answer, call=call, hide=hide)
    if not answer.body.strip():
        return None
    try:
        return json.loads(answer.body, parse_constant=_no_such_constant)
    # RecursionError: lists within lists, thousands deep.
    except (ValueError, RecursionError):
        raise Unavailable(
            f"{call.method} {call.path} answered {answer.status} without valid JSON: "
            + excerpt(answer.body, hide=hide),
            status=answer.status,
            maybe_done=not call.changes_nothing,
        ) from None


def error_of(answer: HttpAnswer, *, call: Call, hide: str = "") -> AmplienceError:
    """The error that an answer which is no success stands for.

    Amplience advises to build on the class of a status and not on single codes, which change
    (https://api.amplience.net/v2/content/docs/api/integration-guide.html); so a version conflict
    is known by its code in the body, and only the 4xx that have one meaning are told apart.

    A 3xx or 4xx is `refusing` unless Amplience itself says it of the item that the call names: a
    firewall, or a gateway in the middle of a deploy, answers any status to any call.
    """
    problem = describe(answer.body, hide=hide)
    message = f"{call.method} {call.path} answered {answer.status}"
    message += f": {problem.message}" if problem.message else ""
    given: dict[str, Any] = {"status": answer.status, "code": problem.code}
    if answer.status == 429:
        return RateLimited(
            message, retry_after=retry_after(answer.headers.get("Retry-After")), **given
        )
    # 408 is a gateway's "too slow", no verdict on the call.
    if answer.status >= 500 or answer.status == 408:
        return Unavailable(
            message,
            retry_after=retry_after(answer.headers.get("Retry-After")),
            maybe_done=not call.changes_nothing,
            **given,
        )
    if answer.status >= 400 and _is_version_conflict(answer.status, problem):
        return VersionConflict(message, **given)
    kinds: dict[int, type[AmplienceError]] = {
        401: Unauthorized,
        403: Unauthorized,
        404: NotFound,
    }
    kind = kinds.get(answer.status, Refused)
    about_item = call.names_item and problem.is_amplience and kind is not Unauthorized
    return kind(
        message,
        retry_after=retry_after(answer.headers.get("Retry-After")),
        refusing=not about_item,
        **given,
    )


@dataclass(frozen=True)
class Problem:
    """What the body of an error says; code and message may be missing.

    `is_amplience`: the body has the structure of Amplience's own errors, with a code.
    """

    code: str | None
    message: str
    is_amplience: bool = False


def describe(body: bytes, *, hide: str = "") -> Problem:
    """Find code and message in an error's body, in any of the forms that Amplience uses.

    `{"errors": [{code, message}]}`, `{"error": {type, message}}`, `{"message"}`, other casings of
    these, plain text, a gateway's HTML, or nothing.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return Problem(code=None, message=excerpt(body, hide=hide))
    entries = list(_entries(content))
    codes = [code for entry in entries if (code := _text(entry, "code", "type", "error"))]
    texts = [
        text for entry in entries if (text := _text(entry, "message", "error_description", "error"))
    ]
    code = VERSION_NOT_LATEST if VERSION_NOT_LATEST in codes else next(iter(codes), None)
    message = "; ".join(texts) if texts else body.decode("utf-8", "replace")
    message = f"{code}: {message}" if code and texts and code not in message else message
    return Problem(code, excerpt(message, hide=hide), is_amplience=_is_amplience(content))


def excerpt(text: str | bytes, *, hide: str = "") -> str:
    """The beginning of `text` on one line, without `hide` in it."""
    plain = text if isinstance(text, str) else text[:4096].decode("utf-8", "replace")
    plain = plain.replace(hide, "***") if hide else plain
    return " ".join(plain.split())[:LONGEST_TEXT]


def _is_version_conflict(status: int, problem: Problem) -> bool:
    # The status that goes with the code is written nowhere, so any 4xx will do. A 409 alone says
    # too little: a delivery key that is taken answers 409 as well.
    if problem.code == VERSION_NOT_LATEST:
        return True
    return status == 409 and problem.code is None and "version" in problem.message.lower()


def _is_amplience(content: Any) -> bool:
    """Tell Amplience's `{"errors": [{code}]}` and `{"error": {type}}` from a gateway's own JSON.

    That is `{"message": "Forbidden"}`, `{"status": 404, "error": "Not Found"}`, or has numbers as
    codes.
    """
    if not isinstance(content, dict):
        return False
    lowered = {str(key).lower(): value for key, value in content.items()}
    nested = [lowered.get(key) for key in ("errors", "error", "errorresponse")]
    return any(
        _CODE.fullmatch(code)
        for part in nested
        if isinstance(part, (list, dict))
        for entry in _entries(part)
        if (code := _text(entry, "code", "type"))
    )


def _entries(content: Any) -> Iterator[dict[str, Any]]:
    """The objects in an error's body that may hold a code or a message, keys in lower case."""
    if isinstance(content, list):
        for entry in content:
            yield from _entries(entry)
    elif isinstance(content, dict):
        lowered = {str(key).lower(): value for key, value in content.items()}
        for key in ("errors", "error", "errorresponse"):
            if isinstance(lowered.get(key), (list, dict)):
                yield from _entries(lowered[key])
        yield lowered


def _text(entry: Mapping[str, Any], *names: str) -> str | None:
    found = (entry.get(name) for name in names)
    return next((value for value in found if isinstance(value, str) and value), None)


def _leave_as_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    # Without an `auth`, requests would look into ~/.netrc and put its own Authorization header
    # in the place of ours.
    return request


def _no_such_constant(name: str) -> Any:
    # Python reads NaN and Infinity; JSON has neither, and what we pass on must be JSON.
    raise ValueError(name)


def _causes(problem: BaseException) -> Iterator[BaseException]:
    """The error and what lies behind it: urllib3 keeps the reason, and requests wraps that."""
    current: object = problem
    for _ in range(8):
        if not isinstance(current, BaseException):
            return
        yield current
        current = getattr(current, "reason", None) or next(
            (part for part in current.args if isinstance(part, BaseException)), None
        )


def _never_left(problem: BaseException) -> bool:
    """Whether no byte of the request can have reached the peer."""
    # A refused connection and a name that is not found are ConnectTimeoutErrors to urllib3.
    before_sending = (ConnectTimeoutError, ssl.SSLCertVerificationError)
    return any(isinstance(cause, before_sending) for cause in _causes(problem))


def _what_happened(problem: BaseException) -> str:
    """A few words on why there was no answer, without addresses or headers."""
    causes = list(_causes(problem))
    # The second is an answer that began and did not end in time.
    if any(isinstance(cause, (requests.Timeout, ReadTimeoutError)) for cause in causes):
        return "timed out"
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return "TLS failed"
    if any(isinstance(cause, NewConnectionError) for cause in causes):
        return "could not connect"
    return f"connection broke ({type(causes[-1]).__name__})"
