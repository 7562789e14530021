"""What an editor does in the sandbox."""

from __future__ import annotations

from typing import Any

from sandbox import SandboxServer

BANNER = {
    "_meta": {"name": "Spring banner", "schema": "https://schema-examples.com/banner"},
    "headline": "Spring is here",
}


def create(
    sandbox: SandboxServer, label: str = "Spring banner", locale: str | None = "en-GB", **body: Any
) -> str:
    """Create a banner; returns its id."""
    repository = sandbox.state.options.repositories[0].id
    item = sandbox.content.create(repository, label=label, body={**BANNER, **body}, locale=locale)
    return item.id


def publish(sandbox: SandboxServer, item_id: str, **changes: Any) -> None:
    """Publish an item, after changing its body where changes are given."""
    if changes:
        item = sandbox.state.item(item_id)
        sandbox.content.update(item_id, item.version, {"body": {**item.body, **changes}})
    sandbox.content.publish(item_id)


def variants(sandbox: SandboxServer, item_id: str) -> set[str | None]:
    """The locales of an item's variants."""
    item = sandbox.state.item(item_id)
    return {variant.locale for variant in sandbox.state.variants(item) if variant.id != item_id}


def localize_requests(sandbox: SandboxServer) -> int:
    """How often anybody asked for variants."""
    return sum(1 for call in list(sandbox.state.calls) if call.path.endswith("/localize"))
