"""Joins the routes of the sandbox into one Flask app, and answers for what it does not have.

Knows where each pretend service is mounted; not what any of them does.
"""

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from sandbox.auth import create_auth
from sandbox.control import create_control
from sandbox.core import Core
from sandbox.downstream import create_downstream
from sandbox.environments import create_environments
from sandbox.errors import RefusalError, management_error
from sandbox.front import area
from sandbox.management import create_management

INDEX = """\
A pretend Amplience. Point a service at it:

  AMPLIENCE_AUTH_URL={url}
  AMPLIENCE_API_URL={url}/v2/content
  AMPLIENCE_DELIVERY_URL={url}/cdn        (or /fresh with a key, or /staging)
  FORWARD_URL={url}/downstream/default

What it answers:

  POST /oauth/token                       client credentials
  /v2/content/...                         Management API
  /cdn, /fresh, /staging                  Content Delivery 2: content/id, key, fetch, filter
  /downstream/<name>[/<path>]             takes anything and remembers it

What it tells and how it is moved:

  GET    /sandbox/state                   items, webhooks, faults, counts
  GET    /sandbox/calls?where=&path=      every request received; DELETE forgets them
  GET    /sandbox/webhook-requests        every webhook sent, with its attempts
  POST   /sandbox/webhooks/send           send an event by hand: name, item_id or payload, times, id
  GET    /sandbox/downstream/<name>       what arrived there; ?wait=n&timeout=s; DELETE forgets it
  POST   /sandbox/faults                  make calls go wrong; GET lists, DELETE ends
  POST   /sandbox/clock                   {{"advance": 301}} moves tokens, quotas and the CDN on
  POST   /sandbox/tokens/expire           every token is refused from now on
  POST   /sandbox/reset                   forget everything
"""


def create_app(core: Core) -> Flask:
    """Make the Flask app of one sandbox."""
    app = Flask("sandbox", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.register_blueprint(create_auth(core))
    app.register_blueprint(create_management(core))
    for environment in create_environments(core):
        app.register_blueprint(environment)
    app.register_blueprint(create_downstream(core))
    app.register_blueprint(create_control(core))
    app.register_error_handler(RefusalError, refuse)
    app.register_error_handler(HTTPException, not_part_of_it)

    @app.get("/")
    def index() -> Response:
        return Response(INDEX.format(url=core.state.url), content_type="text/plain; charset=utf-8")

    return app


def refuse(refusal: RefusalError) -> tuple[Response, int]:
    """Answer as the refused call says."""
    return jsonify(refusal.body), refusal.status


def not_part_of_it(error: HTTPException) -> tuple[Response, int]:
    """Say aloud that a call is not played here, so that nobody takes it for Amplience's answer."""
    what = f"{request.method} {request.path}"
    if error.code in {404, 405} and area(request.path):
        return refuse(
            management_error(501, "SANDBOX_NOT_IMPLEMENTED", f"{what} is not part of the sandbox")
        )
    return jsonify({"error": f"{what}: {error.name}"}), error.code or 500
