"""Loads the settings: variables and file become one document, which one schema checks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from app.config.document import ServiceTable, check
from app.config.environment import ENVIRONMENT_VARIABLES, Merged, merge, without_blanks
from app.config.file import UnreadableFile, read_file, substitute
from app.config.problems import Fault, Places, as_problems
from app.config.references import reference_faults
from app.config.settings import AmplienceHosts, Settings
from app.errors import ConfigError

__all__ = ["DEFAULT_FILE", "ENVIRONMENT_VARIABLES", "load_settings"]

DEFAULT_FILE = "relay.toml"


def load_settings(environ: Mapping[str, str], *, directory: Path = Path()) -> Settings:
    """Read the settings from `environ` and the TOML file that it names.

    `RELAY_CONFIG` is taken from `directory`; without it `relay.toml` is read if it is there. A
    variable that is empty counts as not set. Raises `ConfigError` with every fault that was found,
    sorted by place; no fault shows a value.
    """
    variables = without_blanks(environ)
    named = variables.get("RELAY_CONFIG")
    file = named or DEFAULT_FILE
    try:
        written = read_file(directory / file, required=named is not None)
        unreadable = None
    except UnreadableFile as error:
        written, unreadable = {}, Fault((), str(error))
    substituted = substitute(written, variables)
    merged = merge(substituted, variables)
    loaded, found = check(merged.document)
    if unreadable:
        # What a variable says wrongly, and not what is missing: that may be in the file.
        wrong = [fault for fault in found if merged.variables.get(fault.path) in variables]
        raise ConfigError(as_problems([unreadable, *wrong], _places(file, merged)))
    faults = [*substituted.faults, *merged.faults]
    # A text whose variable is missing was reported already, whatever else is wrong with it.
    unset = {fault.path for fault in substituted.faults}
    faults += [fault for fault in (*found, *reference_faults(loaded)) if fault.path not in unset]
    if faults:
        raise ConfigError(as_problems(faults, _places(file, merged)))
    used = merged.used | substituted.used
    unused = [name for name in variables if name in ENVIRONMENT_VARIABLES and name not in used]
    return _settings(loaded, unused_variables=tuple(sorted(unused)))


def _places(file: str, merged: Merged) -> Places:
    # Bytes that are not UTF-8 cannot be printed.
    shown = file.encode("utf-8", "replace").decode()
    return Places(shown, merged.variables, merged.rule_labels)


def _settings(loaded: Mapping[str, Any], *, unused_variables: tuple[str, ...]) -> Settings:
    """The settings of a document without faults; what is absent keeps the default of `Settings`."""
    hosts = {"auth_url": "amplience_auth_url", "api_url": "amplience_api_url"}
    single = Settings.__dataclass_fields__.keys() & ServiceTable().fields.keys()
    return Settings(
        hubs=tuple(loaded["hubs"].values()),
        rules=tuple(loaded["rules"]),
        destinations=tuple(loaded["destinations"].values()),
        alerts=loaded["alerts"],
        amplience=AmplienceHosts(
            **{name: loaded[setting] for name, setting in hosts.items() if setting in loaded}
        ),
        traces_endpoint=_traces_endpoint(loaded),
        traces_secrets=_traces_secrets(loaded),
        unused_variables=unused_variables,
        **{name: loaded[name] for name in single if name in loaded},
    )


def _traces_endpoint(loaded: Mapping[str, Any]) -> str | None:
    """The URL that spans are sent to, with its path; None where there is none."""
    if loaded.get("otel_sdk_disabled"):
        return None
    # Used as it stands; the other one is a base for every kind of telemetry.
    if exact := loaded.get("otel_exporter_otlp_traces_endpoint"):
        return str(exact)
    base = loaded.get("otel_exporter_otlp_endpoint")
    return f"{base}/v1/traces" if base else None


def _traces_secrets(loaded: Mapping[str, Any]) -> tuple[str, ...]:
    """The values of the headers that the collector is sent: `name=value,name=value`."""
    written = [
        # Without a name it is likely the key alone, which error messages may quote.
        pair.partition("=")[2].strip() or pair.strip()
        for name in ("otel_exporter_otlp_headers", "otel_exporter_otlp_traces_headers")
        for pair in loaded[name].split(",")
    ]
    # They are written percent-encoded as in a URL, and sent decoded.
    return tuple(form for value in written for form in (value, unquote(value)) if form)
