"""What can be chosen about a sandbox before it starts.

Values only: nothing here knows how they are used.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Repository:
    """A content repository; those of one localization group share the name of their `group`."""

    id: str
    name: str
    locales: tuple[str, ...] | None = None
    """The locales assigned to it. None means every locale of the hub."""
    group: str | None = None


DEFAULT_REPOSITORIES = (Repository(id="5b32377e4cedfd01c45036d9", name="content"),)


@dataclass(frozen=True, kw_only=True)
class SandboxOptions:
    """How one sandbox behaves; all times are seconds."""

    hub_id: str = "5b32377e4cedfd01c45036d8"
    hub_name: str = "sandbox"
    client_id: str = "sandbox-client"
    client_secret: str = "sandbox-secret"  # noqa: S105 (a pretend secret for a pretend service)
    personal_access_token: str = "amp_pat_sandbox"  # noqa: S105
    fresh_api_key: str = "sandbox-fresh-key"
    locales: tuple[str, ...] = ("en-GB", "fr-FR", "de-DE", "nl-NL")
    repositories: tuple[Repository, ...] = DEFAULT_REPOSITORIES

    token_seconds: float = 300
    localize_delay: float = 0.2
    publish_delay: float = 0.1
    not_found_after_create: float = 0
    """How long a GET of a fresh item answers 404, as the real API may."""
    publish_quota_per_minute: int = 100

    cdn_ttl: float = 300
    cdn_caches_not_found: bool = False
    fresh_rate: float = 100
    fresh_burst: float = 200

    webhook_retry_delays: tuple[float, ...] = (0.5, 2, 5)
    webhook_timeout: float = 10

    list_includes_self: bool = False
    """Whether a list of localizations holds the item that was asked about. Nobody documents it."""
    variants_fire_created: bool = True
    localize_linked: bool = True
    """Whether linked items that have a locale are localized with the item that links to them."""
