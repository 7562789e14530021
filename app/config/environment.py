"""The environment's half of the configuration: enough for one hub, one localize and one forward.

Every variable that the service reads is a field of `EnvironmentSchema`. This module must not know
the TOML file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate, validates_schema

from app.config.destination_tables import RequestUrl
from app.config.fields import (
    DatabaseUrl,
    Duration,
    HttpUrl,
    HubName,
    Locale,
    SigningSecret,
    Text,
    locale_list_fault,
)
from app.config.hosts import delivery_url
from app.config.problems import Finding, flatten
from app.config.settings import (
    ClientCredentials,
    Delivery,
    DeliverySource,
    Destination,
    ForwardSpec,
    Hub,
    LocalizeSpec,
    PersonalAccessToken,
    Rule,
)
from app.config.tables import TextList
from app.events import CONTENT_ITEM_CREATED, SNAPSHOT_PUBLISHED

HUB_KEY = "main"
DESTINATION_NAME = "default"
_RULES = {"LOCALIZE_LOCALES": "localize", "FORWARD_URL": "forward"}

_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


# An event that comes again is known by its id, which leaves with the event.
_SHORTEST_RETENTION = 30


def _whole(longest: int, *, least: int = 1) -> fields.Integer:
    error = f"This number is out of range.\nWrite a whole number from {least} to {longest}."
    return fields.Integer(validate=validate.Range(min=least, max=longest, error=error))


def _yes_or_no(written: str) -> fields.Boolean:
    return fields.Boolean(
        error_messages={"invalid": f"This is neither yes nor no.\nWrite {written}."}
    )


class EnvironmentSchema(Schema):
    """Every variable, named as in the environment."""

    class Meta:
        """The environment holds much that is not ours."""

        unknown = EXCLUDE

    RELAY_CONFIG = Text()
    DATABASE_URL = DatabaseUrl()
    WEBHOOK_SECRET = TextList(Text(), commas=True)
    AMPLIENCE_CLIENT_ID = Text()
    AMPLIENCE_CLIENT_SECRET = Text()
    AMPLIENCE_PERSONAL_ACCESS_TOKEN = Text()
    AMPLIENCE_HUB_ID = Text()
    AMPLIENCE_HUB_NAME = HubName()
    AMPLIENCE_FRESH_API_KEY = Text()
    AMPLIENCE_AUTH_URL = HttpUrl(base=True)
    AMPLIENCE_API_URL = HttpUrl(base=True)
    AMPLIENCE_DELIVERY_URL = HttpUrl(base=True)
    LOCALIZE_LOCALES = TextList(Locale(any_locale=True), commas=True)
    LOCALIZE_SOURCE_LOCALE = Locale()
    FORWARD_URL = RequestUrl()
    FORWARD_SIGNING_SECRET = TextList(SigningSecret(), commas=True)
    FORWARD_ALLOW_PRIVATE = _yes_or_no("1 or 0")
    ADMIN_TOKEN = Text()
    METRICS_OPEN = _yes_or_no("1 or 0")
    SENTRY_DSN = HttpUrl()
    SENTRY_ENVIRONMENT = Text()
    # The standard's own; what else it has is for the SDK to read
    # (https://opentelemetry.io/docs/specs/otel/protocol/exporter/).
    OTEL_EXPORTER_OTLP_ENDPOINT = HttpUrl(base=True)
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT = HttpUrl()
    OTEL_EXPORTER_OTLP_HEADERS = Text()
    OTEL_EXPORTER_OTLP_TRACES_HEADERS = Text()
    OTEL_SDK_DISABLED = _yes_or_no("true or false")
    LOG_LEVEL = Text(
        pre_load=str.upper,
        validate=validate.OneOf(
            _LOG_LEVELS, error=f"There is no such level.\nWrite one of {', '.join(_LOG_LEVELS)}."
        ),
    )
    LOG_FORMAT = Text(
        validate=validate.OneOf(
            ("json", "console"), error="There is no such format.\nWrite json or console."
        )
    )
    PORT = _whole(65_535)
    WEB_CONCURRENCY = _whole(1_000)
    WORKER_THREADS = _whole(1_000)
    PUBLISH_QUOTA_PER_MINUTE = _whole(100)
    MISSED_WEBHOOKS_EVERY = Duration(longest=86_400)
    RETENTION_DAYS = _whole(3_650, least=_SHORTEST_RETENTION)

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def _pairs(self, loaded: dict[str, Any], original: Mapping[str, str], **_: Any) -> None:
        faults: dict[str, list[str]] = {}
        if "AMPLIENCE_PERSONAL_ACCESS_TOKEN" not in original:
            pair = ("AMPLIENCE_CLIENT_ID", "AMPLIENCE_CLIENT_SECRET")
            for name, other in (pair, pair[::-1]):
                if other in original and name not in original:
                    faults[name] = [f"{other} is set and this is not.\nSet both."]
        if "LOCALIZE_LOCALES" in original and "LOCALIZE_SOURCE_LOCALE" not in original:
            faults["LOCALIZE_SOURCE_LOCALE"] = [
                "LOCALIZE_LOCALES is set and this is not.\n"
                "Set the locale of the items that are to be localized, such as en-GB."
            ]
        if fault := locale_list_fault(
            loaded.get("LOCALIZE_LOCALES", ()), source=loaded.get("LOCALIZE_SOURCE_LOCALE")
        ):
            faults["LOCALIZE_LOCALES"] = [fault]
        if faults:
            raise ValidationError(faults)


ENVIRONMENT_VARIABLES = tuple(EnvironmentSchema().fields)


@dataclass(frozen=True)
class Environment:
    """What the environment says: the values that could be read, and what was wrong."""

    values: Mapping[str, Any]
    findings: tuple[Finding, ...]

    def refused(self, *prefixes: str) -> bool:
        """Whether a variable whose name starts so has a fault."""
        return any(str(each.path[0]).startswith(prefixes) for each in self.findings)

    def hub(self) -> Hub | None:
        """The hub that the variables describe; None when one of them has a fault.

        It has no webhook secret when none is set, which is for the caller to refuse.
        """
        if self.refused("AMPLIENCE_"):
            return None
        return Hub(
            key=HUB_KEY,
            webhook_secrets=self.values.get("WEBHOOK_SECRET", ()),
            id=self.values.get("AMPLIENCE_HUB_ID"),
            name=self.values.get("AMPLIENCE_HUB_NAME"),
            credentials=self._credentials(),
            delivery=self._delivery(),
        )

    def _credentials(self) -> ClientCredentials | PersonalAccessToken | None:
        token = self.values.get("AMPLIENCE_PERSONAL_ACCESS_TOKEN")
        if token:
            return PersonalAccessToken(token)
        client_id = self.values.get("AMPLIENCE_CLIENT_ID")
        client_secret = self.values.get("AMPLIENCE_CLIENT_SECRET")
        if client_id and client_secret:
            return ClientCredentials(client_id, client_secret)
        return None

    def _delivery(self) -> Delivery | None:
        api_key = self.values.get("AMPLIENCE_FRESH_API_KEY")
        source: DeliverySource = "fresh" if api_key else "cdn"
        url = self.values.get("AMPLIENCE_DELIVERY_URL") or delivery_url(
            source, hub_name=self.values.get("AMPLIENCE_HUB_NAME")
        )
        return Delivery(source, url, api_key) if url else None

    def traces_endpoint(self) -> str | None:
        """Where spans are sent to, path and all; None where nobody asks for them."""
        if self.values.get("OTEL_SDK_DISABLED"):
            return None
        # Used as it stands; the other one is a base for every kind of telemetry.
        if exact := self.values.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
            return str(exact)
        base = self.values.get("OTEL_EXPORTER_OTLP_ENDPOINT")
        return f"{base}/v1/traces" if base else None

    def traces_secrets(self) -> tuple[str, ...]:
        """The values of the headers that the collector is sent: `name=value,name=value`."""
        written = [
            # What has no name is likely the key alone, and is quoted by whoever cannot read it.
            pair.partition("=")[2].strip() or pair.strip()
            for name in ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
            for pair in self.values.get(name, "").split(",")
        ]
        # They are written as in a URL, and sent as they are meant.
        return tuple(form for value in written for form in (value, unquote(value)) if form)

    def asks_for(self) -> dict[str, str]:
        """The rules that are asked for, each under the variable that does: name and action alike.

        One that has faults is asked for as well.
        """
        return {
            variable: rule
            for variable, rule in _RULES.items()
            if variable in self.values or self.refused(variable)
        }

    def rules(self) -> Iterator[Rule]:
        """The rules that the variables make."""
        locales = self.values.get("LOCALIZE_LOCALES")
        source = self.values.get("LOCALIZE_SOURCE_LOCALE")
        if locales and source:
            localize = LocalizeSpec(source_locale=source, locales=locales)
            yield Rule(_RULES["LOCALIZE_LOCALES"], (CONTENT_ITEM_CREATED,), localize)
        if "FORWARD_URL" in self.values:
            forward = ForwardSpec(to=(DESTINATION_NAME,))
            yield Rule(_RULES["FORWARD_URL"], (SNAPSHOT_PUBLISHED,), forward)

    def destinations(self) -> dict[str, Destination | None]:
        """The destination that `FORWARD_URL` makes, by name; None when it has a fault."""
        if self.refused("FORWARD_"):
            return {DESTINATION_NAME: None}
        if "FORWARD_URL" not in self.values:
            return {}
        destination = Destination(
            DESTINATION_NAME,
            self.values["FORWARD_URL"],
            signing_secrets=self.values.get("FORWARD_SIGNING_SECRET", ()),
            allow_private=self.values.get("FORWARD_ALLOW_PRIVATE", False),
        )
        return {DESTINATION_NAME: destination}


def without_blanks(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that are set: one that is empty counts as not there, as with `docker -e X=`."""
    return {name: value.strip() for name, value in environ.items() if value.strip()}


def read_environment(environ: Mapping[str, str]) -> Environment:
    """Check the variables of `environ`, which holds no blank ones."""
    try:
        return Environment(EnvironmentSchema().load(environ), ())
    except ValidationError as error:
        found = tuple(Finding(path, text, in_file=False) for path, text in flatten(error.messages))
        valid = error.valid_data if isinstance(error.valid_data, dict) else {}
        return Environment(valid, found)
