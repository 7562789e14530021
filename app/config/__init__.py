"""Settings: what the operator asked for, as frozen values, read once at start.

`load_settings` is the only door: it takes the environment and the TOML file, reports every fault at
once, and returns `Settings`. Nothing else in the service reads the environment. This room must not
connect to anything.
"""

from app.config.load import load_settings
from app.config.settings import (
    Alerts,
    AmplienceHosts,
    ClientCredentials,
    Condition,
    DeleteRequest,
    Delivery,
    Destination,
    ForwardSpec,
    Hub,
    LocalizeSpec,
    PersonalAccessToken,
    RetrySchedule,
    Rule,
    Settings,
    UnpublishSpec,
    Where,
)

__all__ = [
    "Alerts",
    "AmplienceHosts",
    "ClientCredentials",
    "Condition",
    "DeleteRequest",
    "Delivery",
    "Destination",
    "ForwardSpec",
    "Hub",
    "LocalizeSpec",
    "PersonalAccessToken",
    "RetrySchedule",
    "Rule",
    "Settings",
    "UnpublishSpec",
    "Where",
    "load_settings",
]
