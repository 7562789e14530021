"""Where Amplience publishes the content of a hub.

https://amplience.com/developers/docs/apis/content-delivery/ names the hosts. This module must not
know which of them the operator chose, or why.
"""

from __future__ import annotations

from app.config.settings import DeliverySource


def delivery_url(
    source: DeliverySource, *, hub_name: str | None, staging_host: str | None = None
) -> str | None:
    """The base URL of Content Delivery 2, or None when the name that it needs is not known.

    The CDN and the Fresh API are named after the hub; a virtual staging environment has a host of
    its own (the hub's settings show it).
    """
    if source == "staging":
        return f"https://{staging_host}" if staging_host else None
    if not hub_name:
        return None
    network = "fresh.content" if source == "fresh" else "cdn.content"
    return f"https://{hub_name}.{network}.amplience.net"
