"""`dc-relay localize` and `unpublish-archived`: the work itself, done by workers over HTTP."""

from __future__ import annotations

import json

import pytest

from app.db import Storage, upgrade_schema
from sandbox import SandboxServer
from tests.cli.conftest import invoke
from tests.cli.longrun import (
    AT_ONCE,
    CARD,
    archive,
    calls,
    create,
    publish,
    restored_logging,
    summary,
)
from tests.relay import environment, running

pytestmark = pytest.mark.usefixtures(restored_logging.__name__)

UNPUBLISH = ("unpublish-archived", *AT_ONCE)


@pytest.fixture
def environ(sandbox: SandboxServer, database_url: str) -> dict[str, str]:
    """Both databases, with their tables."""
    storage = Storage(database_url)
    upgrade_schema(storage)
    storage.close()
    return environment(sandbox, database_url)


def locales(sandbox: SandboxServer, item_id: str) -> set[str | None]:
    return {one.locale for one in sandbox.state.variants(sandbox.state.item(item_id))}


def test_localize_makes_the_missing_variants_of_every_item_that_fits(
    sandbox: SandboxServer, environ: dict[str, str]
) -> None:
    banners = create(sandbox, 3)
    [french] = create(sandbox, locale="fr-FR")
    [card] = create(sandbox, schema=CARD)
    with running(environ):
        found = summary("localize", "--schema", "*/bann?r", *AT_ONCE, env=environ)
    assert (found["finished"], found["jobs"]) == (True, {"succeeded": 3})
    assert all(locales(sandbox, item) == {"en-GB", "fr-FR", "de-DE"} for item in banners)
    assert sorted(calls(sandbox, "localize")) == sorted(banners)
    assert locales(sandbox, card) == {"en-GB"}
    assert locales(sandbox, french) == {"fr-FR"}


def test_localize_takes_what_is_named_and_what_is_in_a_repository(
    sandbox: SandboxServer, environ: dict[str, str]
) -> None:
    [first, second] = create(sandbox, 2, schema=CARD)
    asked = ("localize", "--locales", "nl-NL", "--source-locale", "en-GB", *AT_ONCE)
    with running(environ):
        assert summary(*asked, "--item", first, env=environ)["items"] == 1
        assert calls(sandbox, "localize") == [first]
        repository = sandbox.state.options.repositories[0].id
        found = summary(*asked, "--repository", repository, "--schema", CARD, env=environ)
    assert found["jobs"] == {"succeeded": 2}
    assert calls(sandbox, "localize") == [first, second]
    assert locales(sandbox, second) == {"en-GB", "nl-NL"}


def test_item_without_a_locale_is_localized_only_on_request(
    sandbox: SandboxServer, environ: dict[str, str]
) -> None:
    [item] = create(sandbox, locale=None)
    asked = ("localize", "--schema", "*", *AT_ONCE)
    with running(environ):
        assert summary(*asked, env=environ)["items"] == 0
        summary(*asked, "--set-missing-locale", env=environ)
    assert locales(sandbox, item) == {"en-GB", "fr-FR", "de-DE"}


def test_unpublish_archived_takes_only_archived_items_off_delivery(
    sandbox: SandboxServer, environ: dict[str, str]
) -> None:
    kept, gone, changed, never = create(sandbox, 4)
    publish(sandbox, kept, gone, changed)
    item = sandbox.state.item(changed)
    sandbox.content.update(changed, item.version, {"label": "Changed since"})
    archive(sandbox, gone, changed, never)
    with running(environ):
        found = summary(*UNPUBLISH, env=environ)
    assert found["jobs"] == {"succeeded": 2}
    assert sorted(calls(sandbox, "unpublish")) == sorted([gone, changed])
    assert set(sandbox.state.published) == {kept}


def test_unpublish_archived_tells_the_destinations_that_are_named(
    sandbox: SandboxServer, environ: dict[str, str]
) -> None:
    items = create(sandbox, 2)
    publish(sandbox, *items)
    archive(sandbox, *items)
    with running(environ):
        found = summary(*UNPUBLISH, "--to", "default", env=environ)
    assert found["jobs"] == {"succeeded": 4}
    sent = [json.loads(one.body) for one in sandbox.received("default")]
    assert {one["type"] for one in sent} == {"content.deleted"}
    assert sorted(one["data"]["item"]["id"] for one in sent) == sorted(items)


def test_command_does_the_jobs_itself_when_no_worker_runs(
    sandbox: SandboxServer, environ: dict[str, str]
) -> None:
    [item] = create(sandbox)
    result = invoke("localize", "--item", item, "--work", *AT_ONCE, env=environ)
    assert result.exit_code == 0, result.output
    assert "No worker runs: the jobs are done here" in result.stderr
    assert "1 of 1 jobs have ended: 1 succeeded" in result.stdout
    assert locales(sandbox, item) == {"en-GB", "fr-FR", "de-DE"}


def test_running_worker_does_the_jobs_also_with_work(
    sandbox: SandboxServer, environ: dict[str, str]
) -> None:
    [item] = create(sandbox)
    with running(environ):
        result = invoke("localize", "--item", item, "--work", *AT_ONCE, env=environ)
    assert (result.exit_code, "A worker runs already" in result.stderr) == (0, True)
    assert calls(sandbox, "localize") == [item]
