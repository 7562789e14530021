"""The tables of hubs and destinations in the TOML file, as marshmallow schemas.

Each says what may stand in a table and what it becomes. What needs two tables is checked where all
are joined. This module must not know where the file is or what the environment holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from marshmallow import (
    RAISE,
    Schema,
    ValidationError,
    fields,
    post_load,
    validate,
    validates_schema,
)

from app.config.destination_tables import (
    BodyTemplate,
    MediaType,
    ReadableFile,
    RequestHeaders,
    RequestUrl,
    request_faults,
)
from app.config.fields import (
    Count,
    Duration,
    HostName,
    HttpUrl,
    HubName,
    Rate,
    SigningSecret,
    Text,
    did_you_mean,
)
from app.config.hosts import delivery_url
from app.config.settings import (
    DESTINATION_RETRY,
    Alerts,
    ClientCredentials,
    DeleteRequest,
    Delivery,
    Destination,
    Hub,
    PersonalAccessToken,
    RetrySchedule,
)
from app.config.tables import EntryList, TextList

_LONGEST_WAIT = 7 * 86_400.0
# A worker's thread waits for the answer, so a destination must not hold it for long.
_LONGEST_TIMEOUT = 300.0
# What is coalesced is late by so much, and an hour is no longer "within seconds".
_LONGEST_COALESCE = 3600.0
_MOST_AT_ONCE = 1000


def one_of(*choices: str) -> validate.OneOf:
    """One of `choices`, as it stands."""
    return validate.OneOf(choices, error=f"This is not a choice.\nWrite {' or '.join(choices)}.")


def some() -> validate.Length:
    """A list with at least one entry."""
    return validate.Length(min=1, error="This is empty.\nName at least one.")


class Table(Schema):
    """A table of the file: a setting that it does not know is a fault."""

    class Meta:
        """A misspelt setting that is ignored would surprise."""

        unknown = RAISE

    elsewhere: ClassVar[Mapping[str, str]] = {}

    def handle_error(self, error: ValidationError, data: Any, **_: Any) -> None:
        """Say more about an unknown setting than that it is unknown."""
        known = {each.data_key or name for name, each in self.fields.items()}
        messages = error.messages
        if isinstance(data, Mapping) and isinstance(messages, dict):
            for key in set(data) - known:
                messages[key] = [self._unknown(key, known)]

    def _unknown(self, key: str, known: Iterable[str]) -> str:
        if key in self.elsewhere:
            return f"This setting does not belong here.\n{self.elsewhere[key]}"
        return f"There is no such setting.\n{did_you_mean(key, known)}"


class DeliveryTable(Table):
    """`[hubs.KEY.delivery]`."""

    source = Text(validate=one_of("fresh", "cdn", "staging"))
    api_key = Text()
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
    webhook_secrets = TextList(Text(), commas=True, required=True)
    client_id = Text()
    client_secret = Text()
    personal_access_token = Text()
    delivery = fields.Nested(DeliveryTable)

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def _complete(self, loaded: dict[str, Any], original: Any, **_: Any) -> None:
        if not isinstance(original, Mapping):
            return
        faults: dict[str, Any] = {}
        if "personal_access_token" not in original:
            pair = ("client_id", "client_secret")
            for name, other in (pair, pair[::-1]):
                if other in original and name not in original:
                    faults[name] = [f"{other} is set and this is not.\nSet both."]
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
    url = table.get("url") or delivery_url(
        source, hub_name=hub_name, staging_host=table.get("staging_host")
    )
    if not url:
        return None
    return Delivery(source, url, table.get("api_key"), verify=table.get("verify", False))


class AlertsTable(Table):
    """`[alerts]`."""

    to = TextList(Text())
    oldest_waiting = Duration(longest=_LONGEST_WAIT)

    @post_load
    def _alerts(self, loaded: dict[str, Any], **_: Any) -> Alerts:
        return Alerts(**loaded)


class RetryTable(Table):
    """`retry = { … }` of a destination."""

    schedule = EntryList(
        Duration(longest=_LONGEST_WAIT),
        validate=validate.Length(
            min=1, max=20, error="A schedule has 1 to 20 delays.\nShorten or fill it."
        ),
        load_default=DESTINATION_RETRY.delays,
    )
    jitter = fields.Float(
        validate=validate.Range(
            min=0, max=1, error="The jitter is a part of the delay.\nWrite a number from 0 to 1."
        ),
        load_default=DESTINATION_RETRY.jitter,
    )

    @post_load
    def _schedule(self, loaded: dict[str, Any], **_: Any) -> RetrySchedule:
        return RetrySchedule(delays=tuple(loaded["schedule"]), jitter=loaded["jitter"])


class DeleteTable(Table):
    """`delete = { … }` of a destination."""

    method = Text(validate=one_of("DELETE", "POST", "PUT", "PATCH"), load_default="DELETE")
    url = RequestUrl()
    body = BodyTemplate()

    @post_load
    def _request(self, loaded: dict[str, Any], **_: Any) -> DeleteRequest:
        return DeleteRequest(**loaded)


class DestinationTable(Table):
    """`[destinations.NAME]`; loads a `Destination` whose name is still missing."""

    url = RequestUrl(required=True)
    method = Text(validate=one_of("POST", "PUT", "PATCH"))
    headers = RequestHeaders()
    body = BodyTemplate()
    content_type = MediaType()
    delete = fields.Nested(DeleteTable)
    gzip = fields.Boolean()
    ca_file = ReadableFile()
    client_cert = ReadableFile()
    client_key = ReadableFile()
    signing_secrets = TextList(SigningSecret(), commas=True, data_key="signing_secret")
    retry = fields.Nested(RetryTable)
    timeout = Duration(longest=_LONGEST_TIMEOUT)
    allow_private = fields.Boolean()
    rate = Rate()
    concurrency = Count(most=_MOST_AT_ONCE)
    coalesce = Duration(longest=_LONGEST_COALESCE)
    coalesce_over = Text(validate=one_of("item", "destination"))

    @validates_schema(skip_on_field_errors=False)
    def _fits_together(self, loaded: dict[str, Any], **_: Any) -> None:
        if faults := request_faults(loaded):
            raise ValidationError({**faults})

    @post_load
    def _destination(self, loaded: dict[str, Any], **_: Any) -> Destination:
        return Destination(name="", **loaded)
