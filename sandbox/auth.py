"""The authorization server, and the check that the Management API makes of what it hands out.

Rules: https://amplience.com/developers/docs/apis/content-management/content-management-overview
"""

import secrets

from flask import Blueprint, Response, jsonify, request

from sandbox.core import Core
from sandbox.errors import RefusalError, management_error
from sandbox.state import State


def create_auth(core: Core) -> Blueprint:
    """Make the route that exchanges client credentials for a token."""
    state, options = core.state, core.state.options
    routes = Blueprint("auth", __name__)

    @routes.post("/oauth/token")
    def token() -> Response:
        with state.lock:
            state.token_requests += 1
            form = request.form
            if (
                form.get("grant_type") != "client_credentials"
                or form.get("client_id") != options.client_id
                or form.get("client_secret") != options.client_secret
            ):
                raise RefusalError(
                    400,
                    {
                        "error": "invalid_client",
                        "error_description": "client id or secret are not valid",
                    },
                )
            made = "sandbox." + secrets.token_urlsafe(32)
            state.tokens[made] = state.now() + options.token_seconds
        seconds = int(options.token_seconds)
        return jsonify({"access_token": made, "session_expires_in": 0, "expires_in": seconds})

    return routes


def check_token(state: State) -> None:
    """Let in a living token or the personal access token.

    Anything else is answered 403, as the real API does, and not 401.
    """
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    with state.lock:
        personal = (
            given == state.options.personal_access_token and state.personal_access_token_valid
        )
        if scheme.lower() == "bearer" and (personal or state.tokens.get(given, 0) > state.now()):
            return
    raise management_error(403, "FORBIDDEN", "Authorization required.")
