"""No secret is shown by a fault or by the settings themselves."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.config import load_settings
from app.errors import ConfigError
from tests.config.loading import FILE_HUB, SIGNING_SECRET, load, problems

SECRET = "Zq7-never-shown-93"

EVERYWHERE = """
[hubs.main]
id = "${S}\\n"
name = "${S}/"
webhook_secrets = ["${S}\\n"]
client_id = "${S}"
delivery = { source = "${S}", api_key = "${S}\\n", url = "${S}", staging_host = "${S}/" }
[[rules]]
name = "${S}\\n"
hub = "${S}"
events = ["${S}"]
where = { schema = "${S}\\n" }
match = [{ path = "${S}", in = "${S}" }, { path = "$.${S}[?", equal = 1, exists = "${S}" }]
action = "${S}"
[[rules]]
name = "l"
events = ["dynamic-content.content-item.created"]
action = "localize"
source_locale = "${S}_"
locales = ["${S}_"]
set_missing_locale = "${S}"
[[rules]]
name = "f"
events = ["dynamic-content.snapshot.published"]
action = "forward"
to = ["${S}"]
depth = "${S}"
format = "${S}"
locale = "${S}_"
[destinations.search]
url = "${S}"
method = "${S}"
headers = { X-Key = "${S}\\n" }
signing_secret = "${S}"
retry = { schedule = ["${S}"], jitter = "${S}" }
timeout = "${S}"
allow_private = "${S}"
"""


def test_no_fault_of_any_setting_shows_its_value() -> None:
    found = problems({"S": SECRET}, EVERYWHERE)
    assert len(found) >= 25
    assert not [problem for problem in found if SECRET in str(problem)]


def test_error_that_ends_up_in_a_log_shows_no_value() -> None:
    with pytest.raises(ConfigError) as caught:
        load({"S": SECRET}, EVERYWHERE)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)


@pytest.mark.parametrize("line", ["id = {}", 'id = "{}', "{} id", "id = [{}"])
def test_syntax_fault_shows_no_value(line: str) -> None:
    (problem,) = problems({}, FILE_HUB + line.format(SECRET))
    assert SECRET not in str(problem)


NAMES = (
    "DATABASE_URL",
    "WEBHOOK_SECRET",
    "AMPLIENCE_CLIENT_SECRET",
    "AMPLIENCE_PERSONAL_ACCESS_TOKEN",
    "AMPLIENCE_FRESH_API_KEY",
    "AMPLIENCE_HUB_NAME",
    "FORWARD_URL",
    "FORWARD_SIGNING_SECRET",
    "LOCALIZE_LOCALES",
    "ADMIN_TOKEN",
    "SENTRY_DSN",
    "PORT",
)


@settings(deadline=None)
@given(
    name=st.sampled_from(NAMES),
    around=st.sampled_from(["{}", "{}\tx", "postgres://u:{}/x@h/n", "whsec_{}", "https://{} x/"]),
    tail=st.text(st.characters(codec="ascii"), max_size=5),
)
def test_no_fault_of_a_variable_shows_its_value(name: str, around: str, tail: str) -> None:
    environ = {"AMPLIENCE_CLIENT_ID": "i", "LOG_LEVEL": "x", name: around.format(SECRET) + tail}
    with pytest.raises(ConfigError) as caught:
        load_settings(environ)
    assert SECRET not in str(caught.value)


SHOWN = """
[hubs.main]
name = "docs"
webhook_secrets = ["Zq7-a"]
client_id = "an-id"
client_secret = "Zq7-b"
delivery = { source = "fresh", api_key = "Zq7-c" }
[hubs.other]
webhook_secrets = ["Zq7-d"]
personal_access_token = "Zq7-e"
[destinations.search]
url = "https://search.example/Zq7-f"
headers = { X-Key = "Zq7-g", Content-Type = "application/json" }
"""
ENVIRON = {
    "ADMIN_TOKEN": "Zq7-h-and-24-characters-more",
    "SENTRY_DSN": "https://Zq7-i@sentry.example/1",
    "DATABASE_URL": "postgres://u:Zq7-j%2F@h/n",
}


def test_settings_do_not_show_their_secrets() -> None:
    loaded = load(ENVIRON, f'{SHOWN}signing_secret = "{SIGNING_SECRET}"')
    assert re.findall(r"Zq7-\w|whsec_", repr(loaded) + str(loaded)) == []


def test_settings_name_every_secret_for_the_scrubbers() -> None:
    loaded = load(ENVIRON, f'{SHOWN}signing_secret = "{SIGNING_SECRET}"')
    named = {*(f"Zq7-{letter}" for letter in "abcdeg"), ENVIRON["ADMIN_TOKEN"], SIGNING_SECRET}
    assert set(loaded.secrets) == {*named, "https://Zq7-i@sentry.example/1", "Zq7-j/"}
