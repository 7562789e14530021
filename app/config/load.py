"""Reads the environment and the TOML file into `Settings`, and reports every fault at once.

The only place where the two are put together. It must not connect to anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.config.document import read_document
from app.config.environment import ENVIRONMENT_VARIABLES, read_environment, without_blanks
from app.config.problems import as_problems
from app.config.references import join
from app.config.settings import AmplienceHosts, Settings
from app.errors import ConfigError

__all__ = ["DEFAULT_FILE", "ENVIRONMENT_VARIABLES", "load_settings"]

DEFAULT_FILE = "relay.toml"
DEFAULT_DATABASE = "sqlite:///var/dc-relay.db"


def load_settings(environ: Mapping[str, str], *, directory: Path = Path()) -> Settings:
    """Read the settings from `environ` and the TOML file that it names.

    `RELAY_CONFIG` is taken from `directory`; without it `relay.toml` is read if it is there. A
    variable that is empty counts as not set. Raises `ConfigError` with every fault that was found,
    sorted by place; no fault shows a value.
    """
    variables = without_blanks(environ)
    environment = read_environment(variables)
    named = variables.get("RELAY_CONFIG")
    file = named or DEFAULT_FILE
    document = read_document(directory / file, variables=variables, required=named is not None)
    joined = join(environment, document)
    found = (*environment.findings, *document.findings, *joined.findings)
    if found:
        raise ConfigError(as_problems(found, file=file, rule_names=document.rule_names))
    return Settings(
        hubs=joined.hubs,
        rules=joined.rules,
        destinations=joined.destinations,
        alerts=document.alerts,
        traces_endpoint=environment.traces_endpoint(),
        traces_secrets=environment.traces_secrets(),
        **_rest(environment.values),
    )


def _rest(values: Mapping[str, Any]) -> dict[str, Any]:
    """What has nothing to do with the file; what is not set keeps the default of `Settings`."""
    hosts = {
        "auth_url": values.get("AMPLIENCE_AUTH_URL"),
        "api_url": values.get("AMPLIENCE_API_URL"),
    }
    single = (
        "ADMIN_TOKEN",
        "METRICS_OPEN",
        "SENTRY_DSN",
        "SENTRY_ENVIRONMENT",
        "LOG_LEVEL",
        "LOG_FORMAT",
        "PORT",
        "WEB_CONCURRENCY",
        "WORKER_THREADS",
        "PUBLISH_QUOTA_PER_MINUTE",
        "MISSED_WEBHOOKS_EVERY",
        "RETENTION_DAYS",
    )
    return {
        "database_url": values.get("DATABASE_URL", DEFAULT_DATABASE),
        "amplience": AmplienceHosts(**{name: url for name, url in hosts.items() if url}),
        **{name.lower(): values[name] for name in single if name in values},
    }
