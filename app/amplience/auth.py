"""Who we are to Amplience: a token for each call, asked for as rarely as can be."""

# authlib and requests-oauthlib were considered and left out: neither asks for a token once for
# many threads (each thread that meets an old token fetches its own), and their sessions are not
# safe to share between threads. What is left of the grant is one form and one small answer.

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import Any, Protocol

from app.amplience.http import AmplienceHttp, Call, HttpAnswer, read_json
from app.config import ClientCredentials, PersonalAccessToken
from app.errors import AmplienceError, Unauthorized, Unavailable

RENEW_EARLY = 60.0
# A missing permission refuses every token, and there are many calls.
REPLACE_EVERY = 30.0
# "generally 300 seconds": for an answer that does not say
# (https://amplience.com/developers/docs/apis/content-management/content-management-overview).
USUAL_LIFE = 300.0


class Tokens(Protocol):
    """Gives the token for a call."""

    def bearer(self) -> str:
        """The token to send. Unauthorized, RateLimited or Unavailable where there is none."""

    def forget(self, token: str) -> None:
        """Amplience did not accept `token`: give another one if a fresh one may help."""

    def close(self) -> None:
        """Close what is kept open."""


def tokens_for(
    credentials: ClientCredentials | PersonalAccessToken,
    *,
    auth_url: str,
    clock: Callable[[], float] = time.monotonic,
) -> Tokens:
    """The source of tokens that fits these credentials."""
    if isinstance(credentials, PersonalAccessToken):
        return FixedToken(credentials)
    return ClientCredentialsTokens(credentials, http=AmplienceHttp(auth_url), clock=clock)


class FixedToken:
    """A personal access token: it does not expire, so there is nothing to renew."""

    def __init__(self, credentials: PersonalAccessToken) -> None:
        self._token = credentials.token

    def bearer(self) -> str:
        """The token."""
        return self._token

    def forget(self, token: str) -> None:
        """Nothing: there is no other token."""

    def close(self) -> None:
        """Nothing is open."""


class ClientCredentialsTokens:
    """Tokens by the client credentials grant (RFC 6749, section 4.4), for all threads.

    `POST {auth_url}/oauth/token`, form-encoded, answers `{"access_token", "expires_in": 300}`,
    or 400 when id or secret are wrong. A token is renewed 60 s early, because an expired one
    answers 403 like a missing permission does. A token that took the place of a refused one is not
    replaced again within 30 s: what refuses it is not its age. However many threads need one, one
    asks; a failure reaches those that waited for it and is not kept.
    """

    def __init__(
        self,
        credentials: ClientCredentials,
        *,
        http: AmplienceHttp,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._credentials = credentials
        self._http = http
        self._clock = clock
        self._lock = Lock()
        self._token: str | None = None
        self._renew_at = 0.0
        self._replaced_at: float | None = None
        self._flight: Future[str] | None = None

    def bearer(self) -> str:
        """The current token, or a new one.

        Raises Unauthorized (wrong credentials or address), RateLimited or Unavailable, never with
        `maybe_done`: the call that wanted the token was not made.
        """
        with self._lock:
            if self._token and self._clock() < self._renew_at:
                return self._token
            flight = self._flight
            if flight is None:
                mine = self._flight = Future()
        if flight is None:
            return self._renew(mine)
        try:
            return flight.result()
        except AmplienceError as failure:
            # Each thread raises its own: a shared one would collect every thread's traceback.
            raise copy.copy(failure) from failure

    def forget(self, token: str) -> None:
        """Drop `token` if it is still the current one; another thread may have renewed it.

        At most once in 30 s.
        """
        with self._lock:
            now = self._clock()
            is_early = self._replaced_at is not None and now < self._replaced_at + REPLACE_EVERY
            if self._token == token and not is_early:
                self._token = None
                self._replaced_at = now

    def close(self) -> None:
        """Close the kept connections."""
        self._http.close()

    def _renew(self, flight: Future[str]) -> str:
        try:
            asked_at = self._clock()
            token, life = self._ask()
        except BaseException as failure:
            with self._lock:
                self._flight = None
            known = isinstance(failure, AmplienceError)
            flight.set_exception(failure if known else Unavailable("the token request broke off"))
            raise
        with self._lock:
            self._flight = None
            self._token = token
            # A token that lives no longer than our margin is still used for half of its life.
            self._renew_at = asked_at + life - min(RENEW_EARLY, life / 2)
        flight.set_result(token)
        return token

    def _ask(self) -> tuple[str, float]:
        call = Call(
            "POST",
            "/oauth/token",
            form={
                "grant_type": "client_credentials",
                "client_id": self._credentials.client_id,
                "client_secret": self._credentials.client_secret,
            },
            only_reads=True,
        )
        answer = self._http.perform(call)
        if 300 <= answer.status < 500 and answer.status not in (408, 429):
            raise Unauthorized(_refusal(answer, self._http.host), status=answer.status)
        return _token_of(read_json(answer, call=call, hide=self._credentials.client_secret))


def _refusal(answer: HttpAnswer, host: str) -> str:
    # None may look like a missing content item. The body is not quoted: it may hold what was sent.
    if answer.status in (400, 401, 403):
        return f"{host} does not accept the client id and secret ({answer.status})"
    return f"{host} is no authorization server: /oauth/token answered {answer.status}"


def _token_of(content: Any) -> tuple[str, float]:
    token = content.get("access_token") if isinstance(content, dict) else None
    if not isinstance(token, str) or not token.strip():
        raise Unavailable("the authorization server answered without an access_token")
    life = content.get("expires_in")
    usable = isinstance(life, (int, float)) and not isinstance(life, bool) and life > 0
    return token, float(life) if usable else USUAL_LIFE
