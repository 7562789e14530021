"""`dc-relay content`: what is published, on stdout."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandbox import SandboxServer
from tests.cli.conftest import invoke

BANNER = "https://schema-examples.com/banner"
LINK = "http://bigcontent.io/cms/schema/v1/core#/definitions/content-link"
NOBODY = "00000000-0000-4000-8000-00000000dead"


def publish(sandbox: SandboxServer, name: str, **body: Any) -> str:
    repository = sandbox.state.options.repositories[0].id
    meta = {"name": name, "schema": BANNER, **body.pop("_meta", {})}
    item = sandbox.content.create(repository, label=name, body={"_meta": meta, **body})
    sandbox.content.publish(item.id)
    assert sandbox.settle()
    return item.id


def headline(shown: dict[str, Any]) -> Any:
    return shown["content"]["headline"]


@pytest.fixture
def banner(sandbox: SandboxServer) -> str:
    return publish(sandbox, "Banner", headline="Spring", _meta={"deliveryKey": "home/banner"})


def test_one_item_is_printed_by_id_and_by_key(environ: dict[str, str], banner: str) -> None:
    for name in (banner, "home/banner"):
        result = invoke("content", "get", name, env=environ)
        assert result.exit_code == 0
        assert headline(json.loads(result.stdout)) == "Spring"


def test_several_items_keep_the_order_of_their_names(
    sandbox: SandboxServer, environ: dict[str, str], banner: str
) -> None:
    other = publish(sandbox, "Other", headline="Autumn")
    result = invoke("content", "get", other, "home/banner", NOBODY, env=environ)
    first, second, missing = json.loads(result.stdout)
    assert (headline(first), headline(second), missing) == ("Autumn", "Spring", None)
    assert (result.exit_code, result.stderr) == (1, f"{NOBODY} is not published.\n")


def test_item_that_is_not_published_prints_nothing_and_exits_with_1(
    environ: dict[str, str],
) -> None:
    result = invoke("content", "get", NOBODY, env=environ)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"{NOBODY} is not published.\n"


@pytest.mark.parametrize(("depth", "opened"), [("root", False), ("1", True), ("all", True)])
def test_depth_and_format_are_those_asked_for(
    sandbox: SandboxServer, environ: dict[str, str], banner: str, depth: str, opened: bool
) -> None:
    link = {"_meta": {"schema": LINK}, "contentType": BANNER, "id": banner}
    page = publish(sandbox, "Page", banner=link)
    shown = invoke("content", "get", page, "--depth", depth, "--format", "linked", env=environ)
    assert ("linkedContent" in json.loads(shown.stdout)) == opened
    inlined = json.loads(invoke("content", "get", page, "--depth", depth, env=environ).stdout)
    assert ("headline" in inlined["content"]["banner"]) == opened


def test_locale_chooses_one_value(sandbox: SandboxServer, environ: dict[str, str]) -> None:
    values = [{"locale": "en-GB", "value": "Hats"}, {"locale": "fr-FR", "value": "Chapeaux"}]
    schema = "http://bigcontent.io/cms/schema/v1/core#/definitions/localized-value"
    item = publish(sandbox, "Hats", headline={"_meta": {"schema": schema}, "values": values})
    result = invoke("content", "get", item, "--locale", "fr-FR", env=environ)
    assert headline(json.loads(result.stdout)) == "Chapeaux"


def test_staging_shows_what_was_saved_last(
    sandbox: SandboxServer, environ: dict[str, str], banner: str
) -> None:
    item = sandbox.state.item(banner)
    sandbox.content.update(banner, item.version, {"body": {**item.body, "headline": "Summer"}})
    there = f"{sandbox.url}/staging"
    saved = invoke("content", "get", banner, "--staging-url", there, env=environ)
    assert headline(json.loads(saved.stdout)) == "Summer"
    published = invoke("content", "get", banner, env=environ)
    assert headline(json.loads(published.stdout)) == "Spring"


def test_staging_without_an_address_says_what_to_give(environ: dict[str, str]) -> None:
    result = invoke("content", "get", NOBODY, "--staging", env=environ)
    assert (result.exit_code, "--staging-url" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("get", "a", "b", "--depth", "2"), "no numbers"),
        (("get", "a", "--hub", "outlet"), "There is: main."),
        (("filter",), "Give --schema"),
        (("filter", *(f"--where=/p{n}=1" for n in range(7))), "6 conditions"),
        (("filter", "--where", "color"), "write a path and a value"),
        (("filter", "--schema", "x", "--sort", "price:down"), "KEY:desc"),
    ],
)
def test_wrong_choice_is_a_usage_error(
    environ: dict[str, str], arguments: tuple[str, ...], says: str
) -> None:
    result = invoke("content", *arguments, env=environ)
    assert result.exit_code == 2
    assert says in result.stderr


@pytest.mark.parametrize("name", ["/starts-with-a-slash", "no spaces"])
def test_impossible_key_is_refused_before_any_call(
    sandbox: SandboxServer, environ: dict[str, str], name: str
) -> None:
    result = invoke("content", "get", name, env=environ)
    assert (result.exit_code, "delivery key" in result.stderr) == (1, True)
    assert not sandbox.state.calls


def test_filter_gives_a_line_for_each_item_that_matches(
    sandbox: SandboxServer, environ: dict[str, str]
) -> None:
    for number in range(14):
        publish(sandbox, f"Banner {number}", rank=number, season="spring" if number else "autumn")
    asked = ["content", "filter", "--schema", BANNER, "--where", "/season=spring"]
    first_page = invoke(*asked, env=environ).stdout.splitlines()
    assert len(first_page) == 12
    every = invoke(*asked, "--all", "--sort", "rank:desc", "--json", env=environ)
    ranks = [one["content"]["rank"] for one in json.loads(every.stdout)]
    assert ranks == list(range(13, 0, -1))
    [single] = invoke("content", "filter", "--where", "/rank=3", env=environ).stdout.splitlines()
    assert json.loads(single)["content"]["rank"] == 3


def test_refusal_of_amplience_is_told_without_secrets(
    sandbox: SandboxServer, environ: dict[str, str]
) -> None:
    environ = {**environ, "AMPLIENCE_FRESH_API_KEY": "wrong-key-of-mine"}
    result = invoke("content", "get", NOBODY, env=environ)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert "wrong-key-of-mine" not in result.output
