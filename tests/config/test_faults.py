"""One bad input each: where it is reported, and a word of what to write instead."""

from __future__ import annotations

import pytest

from tests.config.loading import (
    CREDENTIALS,
    FILE_DESTINATION,
    FILE_HUB,
    FORWARD,
    FORWARD_RULE,
    HUB,
    LOCALIZE,
    LOCALIZE_RULE,
    load,
    problems,
)

VARIABLES = [
    ({"WEBHOOK_SECRET": ""}, "WEBHOOK_SECRET", "Amplience shows"),
    ({"WEBHOOK_SECRET": " , "}, "WEBHOOK_SECRET", "at least one"),
    ({"DATABASE_URL": "mysql://h/n"}, "DATABASE_URL", "postgresql://"),
    ({"DATABASE_URL": "relay.db"}, "DATABASE_URL", "sqlite:///"),
    ({"DATABASE_URL": "sqlite://"}, "DATABASE_URL", "sqlite:///"),
    ({"DATABASE_URL": "sqlite:///"}, "DATABASE_URL", "file's path"),
    ({"DATABASE_URL": "sqlite:///:memory:"}, "DATABASE_URL", "file's path"),
    ({"DATABASE_URL": "postgres://u:a/b@h/n"}, "DATABASE_URL", "%2F"),
    ({"AMPLIENCE_CLIENT_ID": "i"}, "AMPLIENCE_CLIENT_SECRET", "both"),
    ({"AMPLIENCE_CLIENT_SECRET": "s"}, "AMPLIENCE_CLIENT_ID", "both"),
    ({"AMPLIENCE_HUB_NAME": "docs.cdn"}, "AMPLIENCE_HUB_NAME", ".cdn.content"),
    ({"AMPLIENCE_AUTH_URL": "auth.example"}, "AMPLIENCE_AUTH_URL", "whole URL"),
    ({"AMPLIENCE_API_URL": "ftp://api.example"}, "AMPLIENCE_API_URL", "whole URL"),
    ({"AMPLIENCE_DELIVERY_URL": "https://h/?a=1"}, "AMPLIENCE_DELIVERY_URL", "?"),
    ({**LOCALIZE}, "LOCALIZE_LOCALES", "AMPLIENCE_CLIENT_ID"),
    (
        {**CREDENTIALS, "LOCALIZE_LOCALES": "fr-FR"},
        "LOCALIZE_SOURCE_LOCALE",
        "such as en-GB",
    ),
    ({**CREDENTIALS, **LOCALIZE, "LOCALIZE_LOCALES": "fr_FR"}, "LOCALIZE_LOCALES", "hyphen"),
    ({**CREDENTIALS, **LOCALIZE, "LOCALIZE_LOCALES": "*,fr-FR"}, "LOCALIZE_LOCALES", "* alone"),
    ({**CREDENTIALS, **LOCALIZE, "LOCALIZE_LOCALES": "en-GB,fr"}, "LOCALIZE_LOCALES", "out of"),
    ({**CREDENTIALS, **LOCALIZE, "LOCALIZE_SOURCE_LOCALE": "*"}, "LOCALIZE_SOURCE_LOCALE", "en-GB"),
    ({**FORWARD, "AMPLIENCE_HUB_NAME": ""}, "FORWARD_URL", "AMPLIENCE_HUB_NAME"),
    ({**FORWARD, "FORWARD_URL": "https://h:port/"}, "FORWARD_URL", "whole URL"),
    ({**FORWARD, "FORWARD_URL": "https://h/a b"}, "FORWARD_URL", "whole URL"),
    ({**FORWARD, "FORWARD_SIGNING_SECRET": "secret"}, "FORWARD_SIGNING_SECRET", "openssl"),
    ({**FORWARD, "FORWARD_SIGNING_SECRET": "whsec_YQ=="}, "FORWARD_SIGNING_SECRET", "24 to 64"),
    (
        {**FORWARD, "FORWARD_SIGNING_SECRET": "whsec_" + "-" * 40},
        "FORWARD_SIGNING_SECRET",
        "base64",
    ),
    ({**FORWARD, "FORWARD_ALLOW_PRIVATE": "maybe"}, "FORWARD_ALLOW_PRIVATE", "1 or 0"),
    ({"ADMIN_TOKEN": "a\tb"}, "ADMIN_TOKEN", "one line"),
    ({"ADMIN_TOKEN": "x" * 23}, "ADMIN_TOKEN", "openssl rand -hex 32"),
    ({"ADMIN_TOKEN": f"schlüssel{'x' * 24}"}, "ADMIN_TOKEN", "ASCII"),
    ({"ADMIN_TOKEN": f"two words{'x' * 24}"}, "ADMIN_TOKEN", "without blanks"),
    ({"AMPLIENCE_PERSONAL_ACCESS_TOKEN": "€"}, "AMPLIENCE_PERSONAL_ACCESS_TOKEN", "ASCII"),
    ({**CREDENTIALS, "AMPLIENCE_CLIENT_ID": "ü"}, "AMPLIENCE_CLIENT_ID", "ASCII"),
    ({**CREDENTIALS, "AMPLIENCE_CLIENT_SECRET": "€"}, "AMPLIENCE_CLIENT_SECRET", "ASCII"),
    (
        {"AMPLIENCE_HUB_NAME": "docs", "AMPLIENCE_FRESH_API_KEY": "a\x80b"},
        "AMPLIENCE_FRESH_API_KEY",
        "ASCII",
    ),
    # What Python makes of bytes that are not UTF-8.
    ({"WEBHOOK_SECRET": b"caf\xe9".decode(errors="surrogateescape")}, "WEBHOOK_SECRET", "UTF-8"),
    ({"SENTRY_DSN": "https://o1.ingest.sentry.io/1"}, "SENTRY_DSN", "https://key@"),
    ({"SENTRY_DSN": "https://key@sentry.io/"}, "SENTRY_DSN", "https://key@"),
    ({"SENTRY_DSN": "https://key@sentry.io/name"}, "SENTRY_DSN", "https://key@"),
    ({"REQUESTS_CA_BUNDLE": "/not/there.pem"}, "REQUESTS_CA_BUNDLE", "PEM"),
    ({"CURL_CA_BUNDLE": "/not/there.pem"}, "CURL_CA_BUNDLE", "PEM"),
    ({"SENTRY_DSN": "key"}, "SENTRY_DSN", "whole URL"),
    ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL", "WARNING"),
    ({"LOG_FORMAT": "xml"}, "LOG_FORMAT", "console"),
    ({"PORT": "http"}, "PORT", "digits"),
    ({"PORT": "0"}, "PORT", "from 1 to 65535"),
    ({"WEB_CONCURRENCY": "0"}, "WEB_CONCURRENCY", "from 1"),
    ({"WORKER_THREADS": "1.5"}, "WORKER_THREADS", "digits"),
    ({"RETENTION_DAYS": "29"}, "RETENTION_DAYS", "30"),
]


@pytest.mark.parametrize(("given", "place", "word"), VARIABLES)
def test_bad_variable_is_the_one_fault_and_says_what_to_write(
    given: dict[str, str], place: str, word: str
) -> None:
    (problem,) = problems({**HUB, **given})
    assert problem.place == place
    assert word in problem.advice


HUBS = [
    ("hubs = 3", "hubs", "{ name = … }"),
    ("[hub.main]", "hub", '"hubs"'),
    ('[hubs."a b"]\nwebhook_secrets = ["x"]', 'hubs."a b"', "letters"),
    ("[hubs.main]\n[hubs.b]\nwebhook_secrets = 'x'", "hubs.main.webhook_secrets", "Add it"),
    ("[hubs.main]\nwebhook_secrets = []", "hubs.main.webhook_secrets", "at least one"),
    ("[hubs.main]\nwebhook_secrets = [1]", "hubs.main.webhook_secrets[0]", "quotes"),
    ("[hubs.main]\nwebhook_secrets = 1", "hubs.main.webhook_secrets", "[ "),
    (f'{FILE_HUB}\nid = " "', "hubs.main.id", "leave it out"),
    (f'{FILE_HUB}\nnaem = "x"', "hubs.main.naem", '"name"'),
    ('[hubs.main]\nwebhook_secrets = "x"\nclient_id = "i"', "hubs.main.client_secret", "both"),
    ('[hubs.main]\nwebhook_secrets = "x"\nclient_secret = "i"', "hubs.main.client_id", "both"),
    (f'{FILE_HUB}\nid = "${{GONE}}"', "hubs.main.id", "Set it"),
    (f'{FILE_HUB}\nid = "${{GONE"', "hubs.main.id", '"${NAME}"'),
    (f'{FILE_HUB}\n[hubs.main.delivery]\nsource = "live"', "hubs.main.delivery.source", "fresh"),
    (f'{FILE_HUB}\n[hubs.main.delivery]\nsource = "fresh"', "hubs.main.delivery.api_key", "cdn"),
    (
        f'{FILE_HUB}\n[hubs.main.delivery]\nsource = "cdn"\napi_key = "k"',
        "hubs.main.delivery.api_key",
        "fresh",
    ),
    (
        f'{FILE_HUB}\n[hubs.main.delivery]\nsource = "staging"',
        "hubs.main.delivery.staging_host",
        "staging.bigcontent.io",
    ),
    (
        f'{FILE_HUB}\n[hubs.main.delivery]\nstaging_host = "h"',
        "hubs.main.delivery.staging_host",
        "Change the source",
    ),
    (
        f'{FILE_HUB}\n[hubs.main.delivery]\nsource = "staging"\nstaging_host = "https://h"',
        "hubs.main.delivery.staging_host",
        "host alone",
    ),
    (
        '[hubs.main]\nwebhook_secrets = "x"\n[hubs.main.delivery]\nsource = "cdn"',
        "hubs.main.delivery.url",
        "hub's name",
    ),
    (
        '[hubs.main]\nwebhook_secrets = "x"\nname = "docs"\n[hubs.main.delivery]\nverify = true',
        "hubs.main.delivery.verify",
        "client_id and client_secret",
    ),
    (f"{FILE_HUB}\n[hubs.main.delivery]\nverify = 3", "hubs.main.delivery.verify", "true or false"),
]

LOCALIZES = [
    ('name = "l"', 'name = ""', "rules[0].name", "Give it a value"),
    ('name = "l"', f'name = "{"x" * 101}"', f'rules["{"x" * 101}"].name', "100"),
    ('name = "l"', "", "rules[0].name", "Add it"),
    ('action = "localize"', 'action = "localise"', 'rules["l"].action', "localize or forward"),
    ('action = "localize"', "action = 1", 'rules["l"].action', "quotes"),
    ('source_locale = "en-GB"', "", 'rules["l"].source_locale', "Add it"),
    ('"fr-FR"', '"fr-FR", "fr FR"', 'rules["l"].locales[1]', "hyphen"),
    ('"fr-FR"', '"*", "fr-FR"', 'rules["l"].locales', "* alone"),
    ('"fr-FR"', '"en-GB"', 'rules["l"].locales', "out of the list"),
    ('["fr-FR"]', '["fr-FR"]\nset_missing_locale = "x"', 'rules["l"].set_missing_locale', "true"),
    ('["fr-FR"]', '["fr-FR"]\nto = ["x"]', 'rules["l"].to', '"forward"'),
    ('["fr-FR"]', '["fr-FR"]\nhub = "mian"', 'rules["l"].hub', '"main"'),
    ("content-item.created", "content-item.create", 'rules["l"].events[0]', "created"),
    ("content-item.created", "edition.published", 'rules["l"].events', "snapshot.published"),
    ('["dynamic-content.content-item.created"]', "[]", 'rules["l"].events', "at least one"),
    ('["dynamic-content.content-item.created"]', "[3]", 'rules["l"].events[0]', "quotes"),
    ('["fr-FR"]', '["fr-FR"]\nwhere = { shema = "x" }', 'rules["l"].where.shema', '"schema"'),
    ('["fr-FR"]', '["fr-FR"]\nwhere = { label = [] }', 'rules["l"].where.label', "at least one"),
    ('["fr-FR"]', '["fr-FR"]\nwhere = { label = 1 }', 'rules["l"].where.label', "[ "),
    ('["fr-FR"]', '["fr-FR"]\nwhere = "x"', 'rules["l"].where', "brackets"),
    ('["fr-FR"]', '["fr-FR"]\nmatch = { path = "$" }', 'rules["l"].match', "[ "),
]

MATCHES = [
    ('path = "payload", equal = 1', ".path", "$.payload"),
    ('path = "$.a[?", equal = 1', ".path", "$.payload"),
    ('path = "$[?nope(@.a)]", equal = 1', ".path", "$.payload"),
    ('path = "$[99999999999999999999]", equal = 1', ".path", "$.payload"),
    ("equal = 1", ".path", "Add it"),
    ('path = "$"', "", "one of equal, in, not_in, exists"),
    ('path = "$", equal = 1, exists = true', "", "one of equal"),
    ('path = "$", equal = 1, equals = 1', ".equals", '"equal"'),
    ('path = "$", in = []', ".in", "at least one"),
    ('path = "$", in = "EU"', ".in", "[ "),
    ('path = "$", not_in = [nan]', ".not_in[0]", "number"),
    ('path = "$", equal = { a = 1 }', ".equal", "text"),
    ('path = "$", equal = 2025-01-01', ".equal", "text"),
    ('path = "$", exists = "x"', ".exists", "true or false"),
]

FORWARDS = [
    ('["search"]', '["serch"]', 'rules["f"].to[0]', '"search"'),
    ('["search"]', "[]", 'rules["f"].to', "at least one"),
    ('to = ["search"]', "", 'rules["f"].to', "Add it"),
    ('["search"]', '["search"]\ndepth = 2', 'rules["f"].depth', '"all"'),
    ('["search"]', '["search"]\nformat = "inline"', 'rules["f"].format', "inlined"),
    ('["search"]', '["search"]\nlocale = "en_GB"', 'rules["f"].locale', "fr-*"),
    ('["search"]', '["search"]\nlocale = "en,,*"', 'rules["f"].locale', "fr-*"),
    ('["search"]', '["search"]\nlocale = "*-GB"', 'rules["f"].locale', "fr-*"),
    ('["search"]', '["search"]\nlocales = "en"', 'rules["f"].locales', '"localize"'),
    ("snapshot.published", "edition.scheduled", 'rules["f"].events', "snapshot.published"),
]

DESTINATIONS = [
    ('url = "https://search.example/items"', "", ".url", "Add it"),
    ("https://search.example", "search.example", ".url", "whole URL"),
    ('items"', 'items"\nmethod = "GET"', ".method", "PUT"),
    ('items"', 'items"\nheaders = { "X Key" = "v" }', ".headers", "hyphens"),
    ('items"', 'items"\nheaders = { X-Key = 1 }', ".headers.X-Key", "quotes"),
    ('items"', 'items"\nheaders = { X-Key = "a\\r\\nb" }', ".headers.X-Key", "one line"),
    ('items"', 'items"\nheaders = { X-Key = "€" }', ".headers.X-Key", "Latin-1"),
    ('items"', 'items"\nheaders = { X-Key = " v" }', ".headers.X-Key", "blank"),
    ('items"', 'items"\nheaders = { Webhook-Id = "v" }', ".headers.Webhook-Id", "Leave it out"),
    ('items"', 'items"\nheaders = { a = "1", A = "2" }', ".headers", "one of them"),
    ('items"', 'items"\nheaders = "X-Key: v"', ".headers", "{ name = … }"),
    ('items"', 'items"\nsigning_secret = "sesame"', ".signing_secret", "whsec_"),
    ('items"', 'items"\nsigning_secret = ["sesame"]', ".signing_secret[0]", "whsec_"),
    ('items"', 'items"\ntimeout = 15', ".timeout", "unit"),
    ('items"', 'items"\ntimeout = "15"', ".timeout", '"5s"'),
    ('items"', 'items"\ntimeout = "0s"', ".timeout", "above 0"),
    ('items"', 'items"\ntimeout = "-5s"', ".timeout", '"5s"'),
    ('items"', 'items"\ntimeout = "1h"', ".timeout", "at most 300s"),
    ('items"', 'items"\nretry = { schedule = [] }', ".retry.schedule", "Shorten or fill"),
    (
        'items"',
        'items"\nretry = { schedule = [' + "'5s', " * 21 + "] }",
        ".retry.schedule",
        "Shorten or fill",
    ),
    ('items"', 'items"\nretry = { schedule = ["5s", "8d"] }', ".retry.schedule[1]", "at most"),
    ('items"', 'items"\nretry = { schedule = "5s" }', ".retry.schedule", "[ "),
    ('items"', 'items"\nretry = { jitter = 1.5 }', ".retry.jitter", "0 to 1"),
    ('items"', 'items"\nretry = { jitter = "x" }', ".retry.jitter", "number"),
    ('items"', 'items"\nretry = { delays = [] }', ".retry.delays", "schedule"),
    ('items"', 'items"\nretry = 3', ".retry", "brackets"),
    ('items"', 'items"\nallow_private = "maybe"', ".allow_private", "true or false"),
    ('items"', 'items"\nallow_privat = true', ".allow_privat", '"allow_private"'),
    ('items"', 'items"\nconcurrency = 0', ".concurrency", "without quotes"),
    ('items"', 'items"\nconcurrency = "8"', ".concurrency", "without quotes"),
    ('items"', 'items"\ncoalesce = "2"', ".coalesce", "ms, s, m"),
    ('items"', 'items"\ncoalesce_over = "all"', ".coalesce_over", "item or destination"),
    ('items"', 'items"\nrate = "0/s"', ".rate", "50/s"),
    ('items"', 'items"\nrate = 50', ".rate", "quotes"),
    ('items"', '{{ itm.id }}"', ".url", '"item"'),
    ('items"', '{{ item.id"', ".url", "{{ item.id }}"),
    ("search.example", "{{ item.id }}.example", ".url", "after the first slash"),
    ('items"', 'items"\nbody = "{{ content | tojso }}"', ".body", '"tojson"'),
    ('items"', 'items"\nbody = "{{ range(9) }}"', ".body", "no calls"),
    ('items"', 'items"\nbody = "{% set a = 1 %}"', ".body", "no set"),
    ('items"', 'items"\nheaders = { A = "{{ item.id }" }', ".headers.A", "{{ item.id }}"),
    ('items"', 'items"\ndelete = { method = "GET" }', ".delete.method", "DELETE or POST"),
    ('items"', 'items"\ndelete = { url = "/x" }', ".delete.url", "whole URL"),
    ('items"', 'items"\ndelete = { bodi = "" }', ".delete.bodi", '"body"'),
    ('items"', 'items"\ncontent_type = "text/plain"', ".content_type", "Add a body"),
    ('items"', 'items"\nbody = ""\ncontent_type = "text"', ".content_type", "text/plain"),
    ('items"', 'items"\nbody=""\nheaders={ content-type = "a/b" }', ".headers", "content_type"),
    ('items"', 'items"\nca_file = "/no/such.pem"', ".ca_file", "PEM"),
    *(
        ("https://search.example/items", f"{scheme}://search.example/0", ".url", "into the queue")
        for scheme in ("amqp", "amqps", "redis", "rediss", "sqs", "AMQP")
    ),
    ('items"', 'items"\ndelete = { url = "redis://a.example" }', ".delete.url", "into the queue"),
    ('items"', 'items"\nclient_key = "pyproject.toml"', ".client_key", "client_cert"),
]

FILES = [
    *HUBS,
    *(
        (FILE_HUB + LOCALIZE_RULE.replace(good, bad), place, word)
        for good, bad, place, word in LOCALIZES
    ),
    *(
        (f"{FILE_HUB}{LOCALIZE_RULE}match = [{{ {bad} }}]", f'rules["l"].match[0]{place}', word)
        for bad, place, word in MATCHES
    ),
    *(
        (FILE_HUB + FILE_DESTINATION + FORWARD_RULE.replace(good, bad), place, word)
        for good, bad, place, word in FORWARDS
    ),
    *(
        (FILE_HUB + FILE_DESTINATION.replace(good, bad), f"destinations.search{place}", word)
        for good, bad, place, word in DESTINATIONS
    ),
    (FILE_HUB + LOCALIZE_RULE.replace("[[rules]]", "[rules]"), "rules", "[[rules]]"),
    (f"{FILE_HUB}rules = [1]", "hubs.main.rules", "Known here"),
    (f"rules = [1]\n{FILE_HUB}", "rules[0]", "brackets"),
    ("destinations = []", "destinations", "{ name = … }"),
    (f"{FILE_HUB}[destinations]\nsearch = 'x'", "destinations.search", "brackets"),
    (FILE_HUB + LOCALIZE_RULE * 2, "rules[1].name", "a name of its own"),
    (
        '[hubs.a]\nname = "a"\nwebhook_secrets = "x"\n' + LOCALIZE_RULE,
        'rules["l"]',
        "[hubs.a]",
    ),
    (
        '[hubs.a]\nwebhook_secrets = "x"\n' + FORWARD_RULE + FILE_DESTINATION,
        'rules["f"]',
        "[hubs.a]",
    ),
    (FILE_HUB + FORWARD_RULE, 'rules["f"].to[0]', "none yet"),
    (FILE_HUB + "[destinations", "", "toml.io"),
    (f"port = 80\n{FILE_HUB}", "", "variable PORT"),
    (f"prot = 80\n{FILE_HUB}", "prot", "Known here: alerts, destinations, hubs, rules"),
]


@pytest.mark.parametrize(("file", "place", "word"), FILES)
def test_bad_setting_is_the_one_fault_and_says_what_to_write(
    file: str, place: str, word: str
) -> None:
    (problem,) = problems(HUB, file)
    assert problem.place == (f"relay.toml: {place}" if place else "relay.toml")
    assert word in problem.advice
    assert problem.message


@pytest.mark.parametrize(
    ("given", "file", "place", "maker"),
    [
        (
            {**CREDENTIALS, **LOCALIZE},
            LOCALIZE_RULE.replace('"l"', '"localize"'),
            'relay.toml: rules["localize"].name',
            "LOCALIZE_LOCALES",
        ),
        (
            FORWARD,
            FILE_DESTINATION + FORWARD_RULE.replace('"f"', '"forward"'),
            'relay.toml: rules["forward"].name',
            "FORWARD_URL",
        ),
        (
            FORWARD,
            FILE_DESTINATION.replace("search", "default", 1),
            "relay.toml: destinations.default",
            "FORWARD_URL",
        ),
    ],
)
def test_name_that_the_environment_makes_too_is_a_fault(
    given: dict[str, str], file: str, place: str, maker: str
) -> None:
    (problem,) = problems({**HUB, **given}, file)
    assert problem.place == place
    assert maker in str(problem)


def test_faulty_forward_url_does_not_make_its_destination_unknown() -> None:
    file = FORWARD_RULE.replace("search", "default")
    (problem,) = problems({**HUB, **FORWARD, "FORWARD_URL": "x"}, file)
    assert problem.place == "FORWARD_URL"


def test_environment_rule_names_the_hub_of_the_file_that_lacks_something() -> None:
    (problem,) = problems(LOCALIZE, '[hubs.outlet]\nwebhook_secrets = "x"')
    assert problem.place == "LOCALIZE_LOCALES"
    assert "outlet" in problem.message


def test_rule_for_one_hub_asks_nothing_of_another() -> None:
    bare = '[hubs.bare]\nwebhook_secrets = "x"\n'
    assert len(load({}, bare + FILE_HUB + LOCALIZE_RULE + 'hub = "main"').hubs) == 2


def test_environment_url_may_be_a_template_and_no_queue() -> None:
    url = "https://search.example/{{ item.id }}"
    assert load({**HUB, **FORWARD, "FORWARD_URL": url}).destinations[0].url == url
    for wrong, advice in (
        ("https://search.example/{{ itm.id }}", "item"),
        ("amqp://mq.example", "into the queue"),
    ):
        (problem,) = problems({**HUB, **FORWARD, "FORWARD_URL": wrong})
        assert problem.place == "FORWARD_URL"
        assert advice in problem.advice
