from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from sandbox import Repository

from .client import Client, Json, link


def localize(client: Client, item: Json, *locales: str) -> int:
    body = {"version": item["version"], "locales": list(locales)}
    return client.act(item["id"], "localize", body).status_code


def test_localize_creates_variants_a_little_later(start: Callable[..., Client]) -> None:
    client = start(localize_delay=0.1)
    item = client.create({"_meta": {"deliveryKey": "home"}, "headline": "Hi"}, locale="en-GB")
    answer = client.act(item["id"], "localize", {"version": 1, "locales": ["fr-FR", "de-DE"]})
    job = answer.json()
    assert answer.status_code == 202
    assert job["status"] == "IN_PROGRESS"
    assert job["requestedLocales"] == ["fr-FR", "de-DE"]
    assert job["rootContentItem"] == {"id": item["id"], "label": "Banner", "locale": "en-GB"}
    assert "id" not in job
    assert "_embedded" not in client.get(f"/v2/content/content-items/{item['id']}/localizations")
    assert client.sandbox.settle()
    french, german = client.localizations(item["id"])
    assert (french["locale"], german["locale"]) == ("fr-FR", "de-DE")
    assert french["version"] == 1
    assert french["body"]["headline"] == "Hi"
    assert "deliveryKey" not in french["body"]["_meta"]
    assert {one["id"] for one in client.localizations(french["id"])} == {item["id"], german["id"]}


def test_localization_jobs_are_found_by_their_root(client: Client) -> None:
    item = client.create(locale="en-GB")
    localize(client, item, "fr-FR")
    assert client.sandbox.settle()
    path = "/v2/content/localization-jobs/search/findByRootContentItem"
    (job,) = client.get(path, id=item["id"])["_embedded"]["localization-jobs"]
    assert job["status"] == "COMPLETED"


def test_a_locale_that_exists_is_accepted_but_not_made_again(client: Client) -> None:
    item = client.create(locale="en-GB")
    assert localize(client, item, "fr-FR") == 202
    assert localize(client, item, "fr-FR", "de-DE", "en-GB") == 202
    assert client.sandbox.settle()
    assert [one["locale"] for one in client.localizations(item["id"])] == ["fr-FR", "de-DE"]


def test_localize_needs_a_locale_and_supported_targets(client: Client) -> None:
    assert localize(client, client.create(), "fr-FR") == 400
    item = client.create(locale="en-GB")
    assert localize(client, item, "pt-BR") == 400
    assert localize(client, item) == 400


def test_variants_fire_created(client: Client) -> None:
    item = client.create(locale="en-GB")
    client.hook()
    localize(client, item, "fr-FR")
    (event,) = client.events()
    assert event["name"] == "dynamic-content.content-item.created"
    assert event["payload"]["locale"] == "fr-FR"


def test_variants_can_be_silent_and_lists_can_hold_the_item_itself(
    start: Callable[..., Client],
) -> None:
    client = start(variants_fire_created=False, list_includes_self=True)
    item = client.create(locale="en-GB")
    client.hook()
    localize(client, item, "fr-FR")
    assert client.events() == []
    assert [one["locale"] for one in client.localizations(item["id"])] == ["en-GB", "fr-FR"]


def test_variants_go_to_the_repository_of_their_locale(start: Callable[..., Client]) -> None:
    client = start(
        repositories=(
            Repository("r" * 24, "english", ("en-GB",), group="web"),
            Repository("s" * 24, "european", ("fr-FR", "de-DE"), group="web"),
            Repository("t" * 24, "alone", ("nl-NL",)),
        )
    )
    item = client.create(locale="en-GB")
    path = f"/v2/content/content-repositories/{'s' * 24}/localization-group/locales"
    assert set(client.get(path)["locales"]) == {"en-GB", "fr-FR", "de-DE"}
    assert localize(client, item, "nl-NL") == 400
    assert localize(client, item, "fr-FR") == 202
    assert client.sandbox.settle()
    (variant,) = client.localizations(item["id"])
    assert variant["contentRepositoryId"] == "s" * 24


def test_linked_items_with_a_locale_are_localized_too(client: Client) -> None:
    slide, shared = client.create(label="slide", locale="en-GB"), client.create(label="shared")
    body = {"slides": [link(slide), link(shared)]}
    item = client.create(body, label="carousel", locale="en-GB")
    localize(client, item, "fr-FR")
    assert client.sandbox.settle()
    (french,) = client.localizations(item["id"])
    (french_slide,) = client.localizations(slide["id"])
    assert [one["id"] for one in french["body"]["slides"]] == [french_slide["id"], shared["id"]]
    assert client.item(item["id"])["body"]["slides"][0]["id"] == slide["id"]


def test_linked_items_can_be_left_alone(start: Callable[..., Client]) -> None:
    client = start(localize_linked=False)
    slide = client.create(locale="en-GB")
    item = client.create({"slide": link(slide)}, locale="en-GB")
    localize(client, item, "fr-FR")
    assert client.sandbox.settle()
    assert client.localizations(slide["id"]) == []


def test_links_in_a_circle_end(client: Client) -> None:
    one = client.create(locale="en-GB")
    two = client.create({"next": link(one)}, locale="en-GB")
    one = client.update(one, {"next": link(two)})
    assert localize(client, one, "fr-FR") == 202
    assert client.sandbox.settle()
    assert len(client.localizations(one["id"])) == len(client.localizations(two["id"])) == 1


@pytest.mark.parametrize("body", [{"version": 1}, {"version": 1, "locales": "fr-FR"}])
def test_localize_refuses_what_is_not_a_list(client: Client, body: Json) -> None:
    item = client.create(locale="en-GB")
    assert client.act(item["id"], "localize", body).status_code == 400


def test_many_requests_at_once_make_one_variant(client: Client) -> None:
    item = client.create(locale="en-GB")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: localize(client, item, "fr-FR"), range(16)))
    assert set(answers) == {202}
    assert client.sandbox.settle()
    assert len(client.localizations(item["id"])) == 1
