from collections.abc import Callable

import pytest
import requests

from .client import Client, Json

FORBIDDEN = {
    "errors": [{"level": "ERROR", "code": "FORBIDDEN", "message": "Authorization required."}]
}


def ask_token(client: Client, **changes: str) -> requests.Response:
    form = {
        "client_id": "sandbox-client",
        "client_secret": "sandbox-secret",
        "grant_type": "client_credentials",
    }
    return requests.post(f"{client.sandbox.url}/oauth/token", data=form | changes, timeout=5)


def use(client: Client, authorization: str) -> requests.Response:
    return client.call("GET", "/v2/content/hubs", headers={"Authorization": authorization})


def test_good_credentials_give_a_token_that_works(client: Client) -> None:
    answer = ask_token(client)
    assert answer.status_code == 200
    body: Json = answer.json()
    assert {name: body[name] for name in ("session_expires_in", "expires_in")} == {
        "session_expires_in": 0,
        "expires_in": 300,
    }
    assert use(client, f"Bearer {body['access_token']}").status_code == 200
    assert use(client, f"bearer {body['access_token']}").status_code == 200


@pytest.mark.parametrize(
    "changes",
    [{"client_id": "other"}, {"client_secret": "other"}, {"grant_type": "password"}],
)
def test_bad_credentials_are_refused_with_400(client: Client, changes: dict[str, str]) -> None:
    assert ask_token(client, **changes).status_code == 400


def test_token_requests_are_counted(client: Client) -> None:
    ask_token(client)
    ask_token(client, client_id="other")
    assert client.get("/sandbox/state")["counts"]["tokenRequests"] == 2


@pytest.mark.parametrize("authorization", ["", "Bearer nobody", "Basic amp_pat_sandbox", "Bearer"])
def test_a_call_without_a_good_token_is_forbidden(client: Client, authorization: str) -> None:
    answer = use(client, authorization)
    assert (answer.status_code, answer.json()) == (403, FORBIDDEN)


def test_a_token_expires_when_the_clock_has_moved_on(client: Client) -> None:
    token = ask_token(client).json()["access_token"]
    client.advance(299)
    assert use(client, f"Bearer {token}").status_code == 200
    client.advance(2)
    assert use(client, f"Bearer {token}").status_code == 403


def test_tokens_can_be_made_to_expire(client: Client) -> None:
    token = ask_token(client).json()["access_token"]
    assert client.post("/sandbox/tokens/expire").json() == {"expired": 1}
    assert use(client, f"Bearer {token}").status_code == 403
    assert use(client, "bearer amp_pat_sandbox").status_code == 200


def test_the_personal_access_token_can_be_taken_away(client: Client) -> None:
    client.post("/sandbox/tokens/expire", {"personal_access_token": True})
    assert use(client, "bearer amp_pat_sandbox").status_code == 403


def test_the_life_of_a_token_is_an_option(start: Callable[..., Client]) -> None:
    client = start(token_seconds=60)
    assert ask_token(client).json()["expires_in"] == 60
