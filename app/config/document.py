"""The schema of the configuration: everything that the file and the variables together may say.

The file has the tables `FILE_TABLES`. The other settings are set by variables alone: each by the
one of its name in capitals.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields, post_load, validate

from app.config.destination_tables import LONGEST_WAIT, DestinationTable
from app.config.fields import (
    DatabaseUrl,
    Duration,
    HttpUrl,
    Number,
    ReadableFile,
    SentryDsn,
    Text,
    Token,
)
from app.config.hub_tables import HubTable
from app.config.problems import Fault, flatten
from app.config.rule_tables import load_rule
from app.config.settings import Alerts
from app.config.tables import EntryList, NamedTables, Table, TextList

FILE_TABLES = ("hubs", "rules", "destinations", "alerts")

_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# A repeated event is recognised by its id, which is removed with the event.
_SHORTEST_RETENTION = 30
SHORTEST_ADMIN_TOKEN = 24


class AlertsTable(Table):
    """`[alerts]`."""

    to = TextList(Text())
    oldest_waiting = Duration(longest=LONGEST_WAIT)

    @post_load
    def _alerts(self, loaded: dict[str, Any], **_: Any) -> Alerts:
        return Alerts(**loaded)


class ServiceTable(Table):
    """What is set by variables alone; each field is named like its variable, in small letters."""

    relay_config = Text()
    database_url = DatabaseUrl(load_default="sqlite:///var/dc-relay.db")
    amplience_auth_url = HttpUrl(base=True)
    amplience_api_url = HttpUrl(base=True)
    admin_token = Token(shortest=SHORTEST_ADMIN_TOKEN)
    metrics_open = fields.Boolean()
    sentry_dsn = SentryDsn()
    sentry_environment = Text()
    # OpenTelemetry's own; the SDK reads its other variables itself
    # (https://opentelemetry.io/docs/specs/otel/protocol/exporter/).
    otel_exporter_otlp_endpoint = HttpUrl(base=True)
    otel_exporter_otlp_traces_endpoint = HttpUrl()
    otel_exporter_otlp_headers = Text(load_default="")
    otel_exporter_otlp_traces_headers = Text(load_default="")
    otel_sdk_disabled = fields.Boolean()
    # requests reads these itself, and fails at every call where the file is not there.
    requests_ca_bundle = ReadableFile(folder=True)
    curl_ca_bundle = ReadableFile(folder=True)
    log_level = Text(
        pre_load=str.upper,
        validate=validate.OneOf(
            _LOG_LEVELS, error=f"There is no such level.\nWrite one of {', '.join(_LOG_LEVELS)}."
        ),
    )
    log_format = Text(
        validate=validate.OneOf(
            ("json", "console"), error="There is no such format.\nWrite json or console."
        )
    )
    port = Number(most=65_535)
    web_concurrency = Number(most=1_000)
    worker_threads = Number(most=1_000)
    publish_quota_per_minute = Number(most=100)
    missed_webhooks_every = Duration(longest=86_400)
    retention_days = Number(most=3_650, least=_SHORTEST_RETENTION)


class DocumentTable(ServiceTable):
    """The whole document."""

    hubs = NamedTables(HubTable, named="key")
    rules = EntryList(fields.Raw(post_load=load_rule))
    destinations = NamedTables(DestinationTable, named="name")
    alerts = fields.Nested(AlertsTable, load_default=Alerts())


def check(document: Mapping[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
    """The loaded values of a document, and its faults.

    A hub, rule or destination with faults is loaded as a mapping of what could be read of it.
    """
    try:
        return DocumentTable().load(document), []
    except ValidationError as error:
        loaded = error.valid_data if isinstance(error.valid_data, dict) else {}
        return loaded, list(flatten(error.messages))
