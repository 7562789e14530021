"""What the TOML file makes, alone and beside the environment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.config import (
    ClientCredentials,
    Condition,
    Delivery,
    ForwardSpec,
    Hub,
    LocalizeSpec,
    PersonalAccessToken,
    RetrySchedule,
    Where,
    load_settings,
)
from app.config.settings import DESTINATION_RETRY
from app.errors import ConfigError
from tests.config.loading import (
    CREDENTIALS,
    FILE_DESTINATION,
    FILE_HUB,
    FORWARD,
    FORWARD_RULE,
    HUB,
    LOCALIZE,
    LOCALIZE_RULE,
    SIGNING_SECRET,
    load,
    places,
    problems,
)


def test_variables_fill_what_the_only_hub_of_the_file_leaves_out() -> None:
    given = {
        **HUB,
        **CREDENTIALS,
        "AMPLIENCE_HUB_ID": "the-id",
        "AMPLIENCE_HUB_NAME": "not-used",
        "AMPLIENCE_FRESH_API_KEY": "a-key",
    }
    settings = load(given, '[hubs.shop]\nname = "docs"')
    assert settings.hubs == (
        Hub(
            "shop",
            ("from-amplience",),
            id="the-id",
            name="docs",
            credentials=ClientCredentials("an-id", "a-client-secret"),
            delivery=Delivery("fresh", "https://docs.fresh.content.amplience.net", "a-key"),
        ),
    )
    assert settings.unused_variables == ("AMPLIENCE_HUB_NAME",)


def test_fault_of_a_filled_setting_stands_at_its_variable() -> None:
    file = '[hubs.shop]\nnaem = "docs"'
    found = places({**HUB, "AMPLIENCE_HUB_NAME": "no name", "AMPLIENCE_CLIENT_ID": "i"}, file)
    assert found == [
        "AMPLIENCE_HUB_NAME",
        "relay.toml: hubs.shop.client_secret",
        "relay.toml: hubs.shop.naem",
    ]


DELIVERY = f"{FILE_HUB}[hubs.main.delivery]\n"


@pytest.mark.parametrize(
    ("given", "file"),
    [
        ({"WEBHOOK_SECRET": "x"}, FILE_HUB),
        ({"AMPLIENCE_PERSONAL_ACCESS_TOKEN": "x"}, FILE_HUB),
        ({"AMPLIENCE_FRESH_API_KEY": "x"}, f'{DELIVERY}source = "cdn"'),
        ({"AMPLIENCE_FRESH_API_KEY": "x"}, f'{DELIVERY}source = "staging"\nstaging_host = "h"'),
        (
            {"AMPLIENCE_DELIVERY_URL": "http://h"},
            f'{DELIVERY}source = "staging"\nstaging_host = "h"',
        ),
        ({"AMPLIENCE_CLIENT_ID": "x"}, '[hubs.a]\nwebhook_secrets="x"\npersonal_access_token="t"'),
        ({"AMPLIENCE_FRESH_API_KEY": "x"}, '[hubs.a]\nwebhook_secrets = "x"'),
        ({"AMPLIENCE_HUB_ID": "x"}, f'{FILE_HUB}[hubs.b]\nwebhook_secrets = "y"'),
        ({"FORWARD_SIGNING_SECRET": "x"}, FILE_HUB),
        ({"LOCALIZE_SOURCE_LOCALE": "en"}, FILE_HUB),
        ({"SENTRY_ENVIRONMENT": "test"}, FILE_HUB),
    ],
)
def test_variable_that_cannot_fill_anything_changes_nothing_and_is_named(
    given: dict[str, str], file: str
) -> None:
    settings = load(given, file)
    assert settings.unused_variables == tuple(given)
    assert replace(settings, unused_variables=(), sentry_environment=None) == load({}, file)


def test_variable_that_the_file_takes_is_used() -> None:
    file = FILE_HUB + 'id = "${AMPLIENCE_HUB_ID}"\n[hubs.b]\nwebhook_secrets = "y"'
    assert load({"AMPLIENCE_HUB_ID": "x", "HOME": "/"}, file).unused_variables == ()


def test_several_secrets_of_one_variable_are_taken_apart_in_the_file_too() -> None:
    file = FILE_HUB.replace('"one"', '"${WEBHOOK_SECRET}"')
    assert load({"WEBHOOK_SECRET": "new, old"}, file).hubs[0].webhook_secrets == ("new", "old")


def test_file_without_hubs_leaves_the_hub_to_the_environment() -> None:
    settings = load({**HUB, "AMPLIENCE_HUB_NAME": "docs"}, FORWARD_RULE + FILE_DESTINATION)
    assert [hub.key for hub in settings.hubs] == ["main"]
    assert [rule.name for rule in settings.rules] == ["f"]


def test_rules_and_destinations_of_both_are_used_together() -> None:
    settings = load(
        {**LOCALIZE, **FORWARD}, FILE_HUB + FILE_DESTINATION + FORWARD_RULE + LOCALIZE_RULE
    )
    assert [rule.name for rule in settings.rules] == ["localize", "forward", "f", "l"]
    assert {place.name for place in settings.destinations} == {"default", "search"}


@pytest.mark.parametrize(
    ("table", "delivery"),
    [
        ("", Delivery("cdn", "https://docs.cdn.content.amplience.net")),
        ('api_key = "k"', Delivery("fresh", "https://docs.fresh.content.amplience.net", "k")),
        ('source = "cdn"', Delivery("cdn", "https://docs.cdn.content.amplience.net")),
        (
            'source = "staging"\nstaging_host = "a.staging.bigcontent.io"',
            Delivery("staging", "https://a.staging.bigcontent.io"),
        ),
        ('source = "cdn"\nurl = "http://h:1/x/"', Delivery("cdn", "http://h:1/x")),
    ],
)
def test_delivery_of_a_hub(table: str, delivery: Delivery) -> None:
    assert load({}, f"{FILE_HUB}\n[hubs.main.delivery]\n{table}").hubs[0].delivery == delivery


def test_hub_with_a_name_needs_no_delivery_table() -> None:
    assert load({}, FILE_HUB).hubs[0].delivery == Delivery(
        "cdn", "https://docs.cdn.content.amplience.net"
    )


def test_personal_access_token_of_a_hub_wins() -> None:
    hub = load({}, f'{FILE_HUB}\npersonal_access_token = "t"').hubs[0]
    assert hub.credentials == PersonalAccessToken("t")


def test_localize_rule_with_every_setting() -> None:
    file = f"""{FILE_HUB}
[[rules]]
name = "banners"
hub = "main"
events = ["dynamic-content.content-item.created", "dynamic-content.content-item.updated"]
where = {{ schema = "https://x/banner*", locale = ["en-GB", "en-*"], status = "ACTIVE" }}
match = [
  {{ path = "$.payload.body.region", in = ["EU", 1] }},
  {{ path = "$.payload.body.kind", equal = "a" }},
  {{ path = "$..draft", not_in = [true] }},
  {{ path = "$.payload", exists = false }},
]
action = "localize"
source_locale = "en-GB"
locales = "fr-FR, de-DE, fr-FR"
set_missing_locale = true
replicate_folder_structure = true
"""
    (rule,) = load({}, file).rules
    assert rule.hub == "main"
    assert len(rule.events) == 2
    assert rule.where == Where(
        schema=("https://x/banner*",), locale=("en-GB", "en-*"), status=("ACTIVE",)
    )
    assert rule.match == (
        Condition("$.payload.body.region", "in", ("EU", 1)),
        Condition("$.payload.body.kind", "equal", ("a",)),
        Condition("$..draft", "not_in", (True,)),
        Condition("$.payload", "exists", (False,)),
    )
    assert rule.action == LocalizeSpec(
        "en-GB", ("fr-FR", "de-DE"), set_missing_locale=True, replicate_folder_structure=True
    )


def test_forward_rule_with_every_setting() -> None:
    more = 'depth = "root"\nformat = "linked"\nlocale = "fr-FR, fr-*,*"'
    (rule,) = load({}, FILE_HUB + FILE_DESTINATION + FORWARD_RULE + more).rules
    assert rule.action == ForwardSpec(("search",), "root", "linked", "fr-FR,fr-*,*")


def test_forward_rule_asks_for_everything_by_default() -> None:
    (rule,) = load({}, FILE_HUB + FILE_DESTINATION + FORWARD_RULE).rules
    assert rule.action == ForwardSpec(("search",), "all", "inlined", None)
    assert (rule.hub, rule.where, rule.match) == (None, Where(), ())


def test_destination_with_every_setting() -> None:
    file = f"""
[destinations.search]
url = "http://10.0.0.1:7700/items?x=1"
method = "PUT"
headers = {{ "X-Api-Key" = "${{KEY}}", Accept = "*/*" }}
signing_secret = ["{SIGNING_SECRET}"]
retry = {{ schedule = ["500ms", "5s", "1.5m", "2h", "1d"], jitter = 0 }}
timeout = "30s"
allow_private = true
"""
    (place,) = load({**HUB, "KEY": "k"}, file).destinations
    assert (place.name, place.url) == ("search", "http://10.0.0.1:7700/items?x=1")
    assert place.method == "PUT"
    assert place.headers == (("X-Api-Key", "k"), ("Accept", "*/*"))
    assert place.signing_secrets == (SIGNING_SECRET,)
    assert place.retry == RetrySchedule((0.5, 5.0, 90.0, 7200.0, 86400.0), jitter=0.0)
    assert (place.timeout, place.allow_private) == (30.0, True)


def test_destination_with_an_address_alone() -> None:
    (place,) = load(HUB, FILE_DESTINATION).destinations
    assert (place.method, place.headers, place.signing_secrets) == ("POST", (), ())
    assert (place.retry, place.timeout, place.allow_private) == (DESTINATION_RETRY, 15.0, False)


@pytest.mark.parametrize(
    ("written", "loaded"),
    [("a ${X} b ${Y}", "a 1 b 2"), ("$${X}", "${X}"), ("$X ${X}", "$X 1"), ("$$${X}", "$${X}")],
)
def test_variables_are_put_in_anywhere_in_a_text(written: str, loaded: str) -> None:
    file = f'{FILE_HUB}id = "{written}"'
    assert load({"X": "1", "Y": "2"}, file).hubs[0].id == loaded


def test_value_of_a_variable_is_not_looked_at_again() -> None:
    assert load({"X": "${Y}", "Y": "2"}, f'{FILE_HUB}id = "${{X}}"').hubs[0].id == "${Y}"


def test_relay_config_names_another_file(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(FILE_HUB, encoding="utf-8")
    settings = load_settings({"RELAY_CONFIG": "other.toml"}, directory=tmp_path)
    assert settings.hubs[0].webhook_secrets == ("one",)


def test_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({**HUB, "RELAY_CONFIG": "gone.toml"}, directory=tmp_path)
    (problem,) = caught.value.problems
    assert problem.place == "gone.toml"
    assert "RELAY_CONFIG" in problem.advice


def test_folder_in_the_place_of_the_file_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "relay.toml").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(HUB, directory=tmp_path)


def test_file_in_another_encoding_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "relay.toml").write_bytes(b'[hubs.main]\nid = "\xe9"')
    with pytest.raises(ConfigError, match="UTF-8"):
        load_settings(HUB, directory=tmp_path)


def test_syntax_fault_names_line_and_column_and_brings_no_guesses() -> None:
    (problem,) = problems({}, "[hubs.main]\nid = never-shown")
    assert problem.place == "relay.toml"
    assert "line 2, column 6" in problem.message
    assert "never-shown" not in str(problem)


def test_faults_of_both_are_reported_at_once() -> None:
    file = """
[hubs.main]
webhook_secret = "one"
[hubs.main.delivery]
verify = true
[[rules]]
name = "index articles"
hub = "mian"
events = ["snapshot.published"]
where = { shema = "x" }
action = "forward"
depth = 2
to = ["serch"]
[[rules]]
events = []
action = "localise"
[destinations.search]
url = "search.example"
rate = "fast"
"""
    assert places({"PORT": "x"}, file) == [
        "PORT",
        "relay.toml: destinations.search.rate",
        "relay.toml: destinations.search.url",
        "relay.toml: hubs.main.delivery.url",
        "relay.toml: hubs.main.delivery.verify",
        "relay.toml: hubs.main.webhook_secret",
        "relay.toml: hubs.main.webhook_secrets",
        'relay.toml: rules["index articles"].depth',
        'relay.toml: rules["index articles"].events[0]',
        'relay.toml: rules["index articles"].hub',
        'relay.toml: rules["index articles"].to[0]',
        'relay.toml: rules["index articles"].where.shema',
        "relay.toml: rules[1].action",
        "relay.toml: rules[1].events",
        "relay.toml: rules[1].name",
    ]


def test_verify_is_off_until_the_file_says_so_for_a_hub_with_credentials() -> None:
    [plain] = load({}, FILE_HUB).hubs
    [proving] = load({}, f"{FILE_HUB}[hubs.main.delivery]\nverify = true").hubs
    assert plain.delivery
    assert proving.delivery
    assert (plain.delivery.verify, proving.delivery.verify) == (False, True)
