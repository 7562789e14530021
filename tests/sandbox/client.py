"""A small client for the tests of the sandbox: it speaks real HTTP and adds no rules."""

import base64
import hashlib
import hmac
import json
from typing import Any

import requests

from sandbox import SandboxServer

Json = dict[str, Any]
LINK = "http://bigcontent.io/cms/schema/v1/core#/definitions/content-link"
SECRET = "webhook-secret"


class Client:
    """Calls one sandbox with its personal access token."""

    def __init__(self, sandbox: SandboxServer) -> None:
        self.sandbox = sandbox
        self.options = sandbox.state.options
        self.repository = self.options.repositories[0].id
        self.hub = f"/v2/content/hubs/{self.options.hub_id}"
        self.session = requests.Session()
        self.session.trust_env = False

    def call(self, method: str, path: str, body: object = None, **more: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.options.personal_access_token}"}
        headers |= {"X-API-Key": self.options.fresh_api_key} | more.pop("headers", {})
        return self.session.request(
            method, self.sandbox.url + path, json=body, headers=headers, timeout=10, **more
        )

    def get(self, path: str, **params: Any) -> Json:
        answer = self.call("GET", path, params=params)
        assert answer.ok, answer.text
        found: Json = answer.json()
        return found

    def post(self, path: str, body: object = None) -> requests.Response:
        return self.call("POST", path, body if body is not None else {})

    def create(self, body: Json | None = None, **fields: Any) -> Json:
        """Create a content item; `body` adds to a minimal one."""
        meta = {"name": "Banner", "schema": "https://schema.example.com/banner.json"}
        given = body or {}
        whole = {**given, "_meta": {**meta, **given.get("_meta", {})}}
        repository = fields.pop("repository", self.repository)
        answer = self.post(
            f"/v2/content/content-repositories/{repository}/content-items",
            {"label": "Banner", **fields, "body": whole},
        )
        assert answer.status_code == 201, answer.text
        made: Json = answer.json()
        return made

    def item(self, item_id: str) -> Json:
        return self.get(f"/v2/content/content-items/{item_id}")

    def act(self, item_id: str, verb: str, body: object = None) -> requests.Response:
        return self.post(f"/v2/content/content-items/{item_id}/{verb}", body)

    def update(self, item: Json, body: Json) -> Json:
        """Change the body of an item."""
        changes = {"version": item["version"], "body": {**body, "_meta": item["body"]["_meta"]}}
        answer = self.call("PATCH", f"/v2/content/content-items/{item['id']}", changes)
        assert answer.ok, answer.text
        changed: Json = answer.json()
        return changed

    def publish(self, item_id: str) -> Json:
        """Publish an item, wait for it, and give the job."""
        answer = self.act(item_id, "publish")
        assert answer.status_code == 202, answer.text
        assert self.sandbox.settle()
        return self.get(answer.headers["Location"].removeprefix(self.sandbox.url))

    def localizations(self, item_id: str) -> list[Json]:
        page = self.get(f"/v2/content/content-items/{item_id}/localizations")
        return list(page.get("_embedded", {}).get("content-items", []))

    def hook(self, name: str = "hook", **more: Any) -> Json:
        """Register a webhook that posts to a pretend downstream."""
        return self.sandbox.add_webhook(f"{self.sandbox.url}/downstream/{name}", SECRET, **more)

    def events(self, name: str = "hook") -> list[Json]:
        """List the envelopes that a pretend downstream got, once all is quiet."""
        assert self.sandbox.settle()
        return [json.loads(one.body) for one in self.sandbox.received(name)]

    def advance(self, seconds: float) -> None:
        assert self.post("/sandbox/clock", {"advance": seconds}).ok


def link(item: Json) -> Json:
    """Write a content link to an item."""
    return {
        "_meta": {"schema": LINK},
        "contentType": item["body"]["_meta"]["schema"],
        "id": item["id"],
    }


def signature(secret: str, body: bytes) -> str:
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()
