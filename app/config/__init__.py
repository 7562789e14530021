"""The settings: frozen values, read once at start from environment variables and a TOML file.

`load_settings` puts both into one document, checks it with one schema, and reports every fault at
once. Nothing else in the service reads the environment.
"""

from app.config.environment import ENVIRONMENT_VARIABLES
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
    "ENVIRONMENT_VARIABLES",
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
