"""The settings as frozen values. They hold secrets: `repr` leaves those out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

DeliverySource = Literal["fresh", "cdn", "staging"]


@dataclass(frozen=True)
class RetrySchedule:
    """When to try again after a failure: `delays` in seconds, one per retry, then never.

    Each delay is moved by up to `jitter` of itself, up or down, so that many jobs that failed
    together do not come back together.
    """

    delays: tuple[float, ...]
    jitter: float = 0.2


# Svix's published schedule without its immediate first retry: it spans 27.5 hours.
DESTINATION_RETRY = RetrySchedule(delays=(5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 36000.0))
# Amplience is asked again sooner at first: most of its failures last for seconds.
AMPLIENCE_RETRY = RetrySchedule(
    delays=(2.0, 10.0, 60.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 36000.0)
)
# Amplience refuses, and may do so to all: as soon at first, and for an hour. Longer than a deploy
# or a firewall's mood; a person was told at once, and has to act if it is a key.
REFUSED_RETRY = RetrySchedule(delays=(2.0, 10.0, 60.0, 300.0, 900.0, 1200.0, 1500.0))


@dataclass(frozen=True)
class ClientCredentials:
    """An API key and its secret, exchanged for tokens that live about 300 seconds."""

    client_id: str
    client_secret: str = field(repr=False)


@dataclass(frozen=True)
class PersonalAccessToken:
    """A token that does not expire, used in place of client credentials."""

    token: str = field(repr=False)


@dataclass(frozen=True)
class Delivery:
    """Where published content is pulled from.

    `url` is the base that `/content/fetch` is appended to. `api_key` is sent as `X-API-Key` (the
    Fresh API, or a virtual staging environment with a preview key). `verify` asks for proof that
    what was pulled is what was published.
    """

    source: DeliverySource
    url: str
    api_key: str | None = field(default=None, repr=False)
    verify: bool = False


@dataclass(frozen=True)
class Hub:
    """One Amplience hub. `key` is our name for it, in URLs and rules; `name` is Amplience's."""

    key: str
    webhook_secrets: tuple[str, ...] = field(repr=False)
    id: str | None = None
    name: str | None = None
    credentials: ClientCredentials | PersonalAccessToken | None = None
    delivery: Delivery | None = None


@dataclass(frozen=True)
class Where:
    """Simple conditions on an event, each a tuple of globs of which one must match; empty: any."""

    schema: tuple[str, ...] = ()
    repository: tuple[str, ...] = ()
    locale: tuple[str, ...] = ()
    label: tuple[str, ...] = ()
    status: tuple[str, ...] = ()


@dataclass(frozen=True)
class Condition:
    """A condition on the envelope by JSONPath (RFC 9535).

    `equal` and `in` want one of the found values to be among `values`; `not_in` wants none to be;
    `exists` compares with whether anything was found (`values` is `(True,)` or `(False,)`).
    """

    path: str
    test: Literal["equal", "in", "not_in", "exists"]
    values: tuple[Any, ...]


@dataclass(frozen=True)
class LocalizeSpec:
    """Create the missing locale variants. `locales` of `("*",)`: all that the repository allows."""

    source_locale: str
    locales: tuple[str, ...]
    set_missing_locale: bool = False
    replicate_folder_structure: bool = False


@dataclass(frozen=True)
class ForwardSpec:
    """Pull the published content and send it to each destination in `to`.

    `depth` is `root` or `all`: POST /content/fetch documents no numbers. `locale` is passed to
    Content Delivery 2 as it stands; None asks for all locales.
    """

    to: tuple[str, ...]
    depth: Literal["root", "all"] = "all"
    format: Literal["linked", "inlined"] = "inlined"
    locale: str | None = None


@dataclass(frozen=True)
class UnpublishSpec:
    """Take an archived item off delivery and tell the destinations in `to`."""

    to: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rule:
    """Which events ask for which action. `hub` of None: the events of every hub."""

    name: str
    events: tuple[str, ...]
    action: LocalizeSpec | ForwardSpec | UnpublishSpec
    hub: str | None = None
    where: Where = Where()
    match: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class DeleteRequest:
    """What a destination is sent when an item is gone, in place of a `content.deleted` envelope.

    `url` and `body` are templates; without a url it is the destination's, without a body none is
    sent.
    """

    method: Literal["DELETE", "POST", "PUT", "PATCH"] = "DELETE"
    url: str | None = field(default=None, repr=False)
    body: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Destination:
    """A place that we forward to. `timeout` in seconds, for the whole exchange.

    `signing_secrets` are Standard Webhooks secrets (`whsec_…`): the first signs, and so does each
    other one while a secret is being rotated. `rate` in sends per second, and `concurrency`, hold
    over all processes. Of several events within `coalesce` seconds only the newest is sent: per
    item, or over all items for a destination that takes no content, such as a build hook.

    `url`, the values of `headers` and `body` may be templates. `body` is of a `content_type`, and
    stands in for the envelope when content was published; `delete` when it is gone. The
    files are PEM.
    """

    name: str
    url: str = field(repr=False)
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    signing_secrets: tuple[str, ...] = field(default=(), repr=False)
    retry: RetrySchedule = DESTINATION_RETRY
    timeout: float = 15.0
    allow_private: bool = False
    rate: float | None = None
    concurrency: int = 32
    coalesce: float = 0.0
    coalesce_over: Literal["item", "destination"] = "item"
    body: str | None = field(default=None, repr=False)
    content_type: str = "application/json"
    delete: DeleteRequest | None = None
    gzip: bool = False
    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None


@dataclass(frozen=True)
class Alerts:
    """Which destinations receive alerts for the operator, besides Sentry.

    `oldest_waiting` in seconds: a job that is due for longer than this is worth an alert.
    """

    to: tuple[str, ...] = ()
    oldest_waiting: float = 300.0


@dataclass(frozen=True)
class AmplienceHosts:
    """Amplience's hosts; other ones for tests, the sandbox or a staging copy."""

    auth_url: str = "https://auth.amplience.net"
    api_url: str = "https://api.amplience.net/v2/content"


@dataclass(frozen=True)
class Settings:
    """Everything that the operator can choose.

    `unused_variables` names the variables of ours that are set and have no effect.
    """

    database_url: str = field(repr=False)
    hubs: tuple[Hub, ...]
    rules: tuple[Rule, ...]
    destinations: tuple[Destination, ...]
    amplience: AmplienceHosts = AmplienceHosts()
    alerts: Alerts = Alerts()
    admin_token: str | None = field(default=None, repr=False)
    metrics_open: bool = False
    sentry_dsn: str | None = field(default=None, repr=False)
    sentry_environment: str | None = None
    traces_endpoint: str | None = field(default=None, repr=False)
    traces_secrets: tuple[str, ...] = field(default=(), repr=False)
    log_level: str = "INFO"
    log_format: Literal["json", "console"] = "json"
    port: int = 8000
    web_concurrency: int = 1
    worker_threads: int = 48
    retention_days: int = 30
    publish_quota_per_minute: int = 50
    missed_webhooks_every: float | None = None
    unused_variables: tuple[str, ...] = ()

    def hub(self, key: str) -> Hub | None:
        """The hub that we call `key`, or None."""
        return next((hub for hub in self.hubs if hub.key == key), None)

    def destination(self, name: str) -> Destination | None:
        """The destination called `name`, or None."""
        return next((place for place in self.destinations if place.name == name), None)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret value, for the scrubbers of logs and error reports."""
        return tuple(secret for secret in _secrets(self) if secret)


# Everybody sends these; taking their values out of every log line would only hide things.
_OPEN_HEADERS = frozenset({"accept", "accept-language", "content-type", "user-agent"})


def _secrets(settings: Settings) -> list[str]:
    found = [settings.admin_token or "", settings.sentry_dsn or ""]
    found.append(_password(settings.database_url))
    found += [_password(settings.traces_endpoint or ""), *settings.traces_secrets]
    for hub in settings.hubs:
        found.extend(hub.webhook_secrets)
        if isinstance(hub.credentials, ClientCredentials):
            found.append(hub.credentials.client_secret)
        elif hub.credentials:
            found.append(hub.credentials.token)
        if hub.delivery and hub.delivery.api_key:
            found.append(hub.delivery.api_key)
    for place in settings.destinations:
        found.append(_password(place.url))
        found.extend(place.signing_secrets)
        found.extend(value for name, value in place.headers if name.lower() not in _OPEN_HEADERS)
    return found


def _password(url: str) -> str:
    try:
        return unquote(urlsplit(url).password or "")
    except ValueError:  # `http://[…`
        return ""
