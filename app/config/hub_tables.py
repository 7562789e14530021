"""The tables of a hub, and the hosts that Amplience publishes its content at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields, post_load, validates_schema

from app.config.fields import HostName, HttpUrl, HubName, Text, Token
from app.config.settings import (
    ClientCredentials,
    Delivery,
    DeliverySource,
    Hub,
    PersonalAccessToken,
)
from app.config.tables import Table, TextList, one_of


class DeliveryTable(Table):
    """`[hubs.KEY.delivery]`."""

    source = Text(validate=one_of("fresh", "cdn", "staging"))
    api_key = Token()
    url = HttpUrl(base=True)
    staging_host = HostName()
    verify = fields.Boolean()

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def _belongs(self, loaded: dict[str, Any], original: Any, **_: Any) -> None:
        if not isinstance(original, Mapping) or ("source" in original) != ("source" in loaded):
            return
        faults = _misplaced(_source({**original, **loaded}), frozenset(original))
        if faults:
            raise ValidationError({name: [text] for name, text in faults.items()})


def _misplaced(source: str, given: frozenset[str]) -> dict[str, str]:
    faults = {}
    if source == "fresh" and "api_key" not in given:
        faults["api_key"] = 'The Fresh API wants a key.\nAdd it, or write source = "cdn".'
    if source == "cdn" and "api_key" in given:
        faults["api_key"] = 'The CDN takes no key.\nWrite source = "fresh", or take it out.'
    if source == "staging" and not {"staging_host", "url"} & given:
        faults["staging_host"] = (
            "A staging environment has a host of its own.\n"
            "Add it, as the hub's settings show it: abc123.staging.bigcontent.io."
        )
    if source != "staging" and "staging_host" in given:
        faults["staging_host"] = (
            'This is for source = "staging" only.\nChange the source, or take it out.'
        )
    return faults


def _source(delivery: Mapping[str, Any]) -> Any:
    return delivery.get("source") or ("fresh" if "api_key" in delivery else "cdn")


_CREDENTIALS = frozenset({"client_id", "client_secret", "personal_access_token"})


class HubTable(Table):
    """`[hubs.KEY]`; loads a `Hub` whose key is still missing."""

    id = Text()
    name = HubName()
    webhook_secrets = TextList(
        Text(),
        commas=True,
        required=True,
        error_messages={
            "required": "The webhook's secret is required.\n"
            "Add it: the secret that Amplience shows for the webhook, as it stands there."
        },
    )
    client_id = Token()
    client_secret = Token()
    personal_access_token = Token()
    delivery = fields.Nested(DeliveryTable)

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def _complete(self, loaded: dict[str, Any], original: Any, **_: Any) -> None:
        if not isinstance(original, Mapping):
            return
        faults: dict[str, Any] = {}
        if "personal_access_token" not in original:
            given = {"client_id", "client_secret"} & original.keys()
            for missing in {"client_id", "client_secret"} - given if given else ():
                faults[missing] = ["An API key is an id and a secret.\nSet both."]
        if "name" not in original and _needs_name(original.get("delivery")):
            text = "The host is not known.\nAdd the hub's name, or this URL."
            faults["delivery"] = {"url": [text]}
        wants_proof = loaded.get("delivery", {}).get("verify", False)
        if wants_proof and not _CREDENTIALS & original.keys():
            faults.setdefault("delivery", {})["verify"] = [
                "It needs credentials for the Management API.\n"
                "Give the hub client_id and client_secret, or personal_access_token."
            ]
        if faults:
            raise ValidationError(faults)

    @post_load
    def _hub(self, loaded: dict[str, Any], **_: Any) -> Hub:
        return Hub(
            key="",
            webhook_secrets=loaded["webhook_secrets"],
            id=loaded.get("id"),
            name=loaded.get("name"),
            credentials=_credentials(loaded),
            delivery=_delivery(loaded.get("delivery", {}), hub_name=loaded.get("name")),
        )


def _needs_name(delivery: Any) -> bool:
    return (
        isinstance(delivery, Mapping)
        and "url" not in delivery
        and _source(delivery) in ("fresh", "cdn")
    )


def _credentials(hub: Mapping[str, Any]) -> ClientCredentials | PersonalAccessToken | None:
    if "personal_access_token" in hub:
        return PersonalAccessToken(hub["personal_access_token"])
    if "client_id" in hub:
        return ClientCredentials(hub["client_id"], hub["client_secret"])
    return None


def _delivery(table: Mapping[str, Any], *, hub_name: str | None) -> Delivery | None:
    source = _source(table)
    url = table.get("url") or _delivery_url(
        source, hub_name=hub_name, host=table.get("staging_host")
    )
    if not url:
        return None
    return Delivery(source, url, table.get("api_key"), verify=table.get("verify", False))


def _delivery_url(source: DeliverySource, *, hub_name: str | None, host: str | None) -> str | None:
    """The base URL of Content Delivery 2, or None when the name that it needs is not known.

    The CDN and the Fresh API are named after the hub; a virtual staging environment has a host of
    its own (https://amplience.com/developers/docs/apis/content-delivery/).
    """
    if source == "staging":
        return f"https://{host}" if host else None
    if not hub_name:
        return None
    network = "fresh.content" if source == "fresh" else "cdn.content"
    return f"https://{hub_name}.{network}.amplience.net"
