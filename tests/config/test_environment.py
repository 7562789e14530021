"""What the environment alone makes."""

from __future__ import annotations

import pytest

from app.config import (
    ClientCredentials,
    Delivery,
    ForwardSpec,
    LocalizeSpec,
    PersonalAccessToken,
    Settings,
)
from app.events import CONTENT_ITEM_CREATED, SNAPSHOT_PUBLISHED
from tests.config.loading import (
    CREDENTIALS,
    FORWARD,
    HUB,
    LOCALIZE,
    SIGNING_SECRET,
    load,
    places,
)


def test_a_webhook_secret_is_enough() -> None:
    settings = load(HUB)
    assert [hub.key for hub in settings.hubs] == ["main"]
    assert settings.hubs[0].webhook_secrets == ("from-amplience",)
    assert settings.hubs[0].credentials is None
    assert settings.hubs[0].delivery is None
    assert settings.rules == ()
    assert settings.destinations == ()


def test_defaults_are_those_of_the_settings() -> None:
    settings = load(HUB)
    assert settings == Settings(
        database_url="sqlite:///var/dc-relay.db", hubs=settings.hubs, rules=(), destinations=()
    )
    assert (settings.port, settings.web_concurrency, settings.worker_threads) == (8000, 1, 48)
    assert settings.amplience.auth_url == "https://auth.amplience.net"
    assert settings.amplience.api_url == "https://api.amplience.net/v2/content"


def test_every_other_variable_reaches_the_settings() -> None:
    settings = load(
        {
            **HUB,
            "AMPLIENCE_HUB_ID": "5b32377e4cedfd01c45036d8",
            "AMPLIENCE_AUTH_URL": "http://127.0.0.1:8100/",
            "AMPLIENCE_API_URL": "http://127.0.0.1:8100/v2/content/",
            "ADMIN_TOKEN": "open-sesame-and-open-sesame",
            "SENTRY_DSN": "https://key@sentry.example/1",
            "SENTRY_ENVIRONMENT": "test",
            "LOG_LEVEL": "debug",
            "LOG_FORMAT": "console",
            "PORT": "80",
            "WEB_CONCURRENCY": "3",
            "WORKER_THREADS": "5",
            "RETENTION_DAYS": "90",
        }
    )
    assert settings.hubs[0].id == "5b32377e4cedfd01c45036d8"
    assert settings.amplience.auth_url == "http://127.0.0.1:8100"
    assert settings.amplience.api_url == "http://127.0.0.1:8100/v2/content"
    assert settings.admin_token == "open-sesame-and-open-sesame"
    assert settings.sentry_dsn == "https://key@sentry.example/1"
    assert settings.sentry_environment == "test"
    assert (settings.log_level, settings.log_format) == ("DEBUG", "console")
    assert (settings.port, settings.web_concurrency, settings.worker_threads) == (80, 3, 5)
    assert settings.retention_days == 90


def test_blanks_between_webhook_secrets_are_dropped() -> None:
    settings = load({"WEBHOOK_SECRET": " new , ,old,"})
    assert settings.hubs[0].webhook_secrets == ("new", "old")


def test_webhook_secret_is_kept_as_text() -> None:
    assert load({"WEBHOOK_SECRET": "c2VjcmV0=="}).hubs[0].webhook_secrets == ("c2VjcmV0==",)


def test_empty_variable_counts_as_not_set() -> None:
    blank = {"AMPLIENCE_CLIENT_ID": "", "PORT": " ", "FORWARD_URL": "", "LOG_LEVEL": ""}
    assert load({**HUB, **blank}) == load(HUB)


@pytest.mark.parametrize(
    ("given", "loaded"),
    [
        ("postgres://u:p@h:5432/n", "postgresql+psycopg://u:p@h:5432/n"),
        ("postgresql://u:p@h/n?sslmode=require", "postgresql+psycopg://u:p@h/n?sslmode=require"),
        ("postgresql+psycopg://h/n", "postgresql+psycopg://h/n"),
        ("postgresql:///n", "postgresql+psycopg:///n"),
        ("sqlite:///var/relay.db", "sqlite:///var/relay.db"),
        ("sqlite:////srv/relay.db", "sqlite:////srv/relay.db"),
    ],
)
def test_database_url_becomes_what_the_engine_wants(given: str, loaded: str) -> None:
    assert load({**HUB, "DATABASE_URL": given}).database_url == loaded


def test_localize_variables_make_one_rule() -> None:
    (rule,) = load({**HUB, **CREDENTIALS, **LOCALIZE}).rules
    assert (rule.name, rule.hub, rule.events) == ("localize", None, (CONTENT_ITEM_CREATED,))
    assert rule.action == LocalizeSpec(source_locale="en-GB", locales=("fr-FR", "de-DE"))


def test_star_asks_for_all_locales() -> None:
    (rule,) = load({**HUB, **CREDENTIALS, **LOCALIZE, "LOCALIZE_LOCALES": "*"}).rules
    assert rule.action == LocalizeSpec(source_locale="en-GB", locales=("*",))


def test_forward_variables_make_one_rule_and_one_destination() -> None:
    settings = load({**HUB, **FORWARD})
    (rule,) = settings.rules
    assert (rule.name, rule.hub, rule.events) == ("forward", None, (SNAPSHOT_PUBLISHED,))
    assert rule.action == ForwardSpec(to=("default",))
    (destination,) = settings.destinations
    assert (destination.name, destination.url) == ("default", "https://search.example/items")
    assert (destination.signing_secrets, destination.allow_private) == ((), False)


def test_forward_is_signed_with_each_secret_and_may_be_private() -> None:
    other = SIGNING_SECRET.replace("MDEy", "MDEz")
    secrets = {"FORWARD_SIGNING_SECRET": f"{other}, {SIGNING_SECRET}", "FORWARD_ALLOW_PRIVATE": "1"}
    (destination,) = load({**HUB, **FORWARD, **secrets}).destinations
    assert destination.signing_secrets == (other, SIGNING_SECRET)
    assert destination.allow_private is True


@pytest.mark.parametrize(
    ("given", "delivery"),
    [
        (
            {"AMPLIENCE_HUB_NAME": "docs"},
            Delivery("cdn", "https://docs.cdn.content.amplience.net"),
        ),
        (
            {"AMPLIENCE_HUB_NAME": "docs", "AMPLIENCE_FRESH_API_KEY": "k"},
            Delivery("fresh", "https://docs.fresh.content.amplience.net", "k"),
        ),
        (
            {"AMPLIENCE_DELIVERY_URL": "http://127.0.0.1:8100/x/"},
            Delivery("cdn", "http://127.0.0.1:8100/x"),
        ),
        (
            {
                "AMPLIENCE_DELIVERY_URL": "http://127.0.0.1:8100",
                "AMPLIENCE_HUB_NAME": "docs",
                "AMPLIENCE_FRESH_API_KEY": "k",
            },
            Delivery("fresh", "http://127.0.0.1:8100", "k"),
        ),
    ],
)
def test_delivery_follows_from_key_name_and_url(given: dict[str, str], delivery: Delivery) -> None:
    assert load({**HUB, **given}).hubs[0].delivery == delivery


@pytest.mark.parametrize(
    ("given", "credentials"),
    [
        (CREDENTIALS, ClientCredentials("an-id", "a-client-secret")),
        ({"AMPLIENCE_PERSONAL_ACCESS_TOKEN": "t"}, PersonalAccessToken("t")),
        ({**CREDENTIALS, "AMPLIENCE_PERSONAL_ACCESS_TOKEN": "t"}, PersonalAccessToken("t")),
        (
            {"AMPLIENCE_CLIENT_ID": "i", "AMPLIENCE_PERSONAL_ACCESS_TOKEN": "t"},
            PersonalAccessToken("t"),
        ),
    ],
)
def test_personal_access_token_wins_over_client_credentials(
    given: dict[str, str], credentials: object
) -> None:
    assert load({**HUB, **given}).hubs[0].credentials == credentials


def test_all_faults_of_the_environment_are_reported_at_once_and_sorted() -> None:
    found = places(
        {
            "AMPLIENCE_CLIENT_ID": "i",
            "DATABASE_URL": "mysql://h/n",
            "LOCALIZE_LOCALES": "fr_FR",
            "FORWARD_URL": "https://search.example",
            "PORT": "none",
            "LOG_FORMAT": "xml",
        }
    )
    assert found == [
        "AMPLIENCE_CLIENT_SECRET",
        "DATABASE_URL",
        "LOCALIZE_LOCALES",
        "LOCALIZE_SOURCE_LOCALE",
        "LOG_FORMAT",
        "PORT",
        "WEBHOOK_SECRET",
    ]


def test_what_a_rule_needs_is_reported_beside_its_own_faults() -> None:
    found = places({**HUB, "LOCALIZE_LOCALES": "fr-FR", "FORWARD_URL": "not a url"})
    assert found == ["FORWARD_URL", "FORWARD_URL", "LOCALIZE_LOCALES", "LOCALIZE_SOURCE_LOCALE"]
