from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from app.queue import accept
from app.rules import match
from tests.browser.conftest import SCREENSHOTS, Screen
from tests.browser.driving import scheme, width
from tests.browser.scene import EVIL, published

GROUP = "/dead/group?reason=destination-refused&action=forward&target=shop"
EVENTS = ("/events/{Spring banner}", "/events/{Summer sale}")
PAGES = ("/", "/events", *EVENTS, "/dead", GROUP, "/destinations", "/api/v1/docs")

# Every text that is seen, with its colour and the first background under it that is not clear.
_CONTRAST = """
const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
function rgb(color) {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = color;
  canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
}
function luminance(color) {
  const [r, g, b] = rgb(color).slice(0, 3).map((part) => part / 255).map(
    (part) => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function behind(element) {
  for (let at = element; at; at = at.parentElement) {
    const color = getComputedStyle(at).backgroundColor;
    if (rgb(color)[3] === 255) return color;
  }
  return "white";
}
const weak = [];
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) {
  const element = texts.currentNode.parentElement;
  if (!texts.currentNode.nodeValue.trim() || !element.checkVisibility()) continue;
  if (element.closest(".hush, .skip, option")) continue;
  const [one, two] = [getComputedStyle(element).color, behind(element)].map(luminance);
  const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
  if (ratio < 4.5) weak.push(`${texts.currentNode.nodeValue.trim()}: ${ratio.toFixed(2)}`);
}
return weak;
"""

_UNNAMED = """
const named = (e) => e.textContent.trim() || e.getAttribute("aria-label") || e.labels?.length;
return [...document.querySelectorAll("a, button, select, input:not([type=hidden])")]
  .filter((e) => !named(e)).map((e) => e.outerHTML);
"""

_LEVELS = "return [...document.querySelectorAll('h1, h2, h3')].map((h) => Number(h.tagName[1]))"


@pytest.fixture(scope="module", params=PAGES)
def page(request: pytest.FixtureRequest, signed_in: Screen) -> Screen:
    """A window on each page in turn, opened once for the tests that only look."""
    signed_in.open(request.param)
    return signed_in


def test_page_is_no_wider_than_a_phone(page: Screen, screen: Screen) -> None:
    width(screen.browser, 360)
    assert screen.script("return document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("preferred", ["light", "dark"])
def test_every_text_stands_out(page: Screen, screen: Screen, preferred: str) -> None:
    scheme(screen.browser, preferred)
    assert screen.script(_CONTRAST) == []


def test_page_can_be_heard(page: Screen, screen: Screen) -> None:
    levels = screen.script(_LEVELS)
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert screen.script(_UNNAMED) == []
    for landmark in ("header", "nav[aria-label]", "main", "footer"):
        assert screen.browser.find_elements(By.CSS_SELECTOR, landmark)
    tables = "return [...document.querySelectorAll('table')].every((t) => t.caption)"
    assert screen.script(tables)


def test_first_tab_leads_past_the_menu(screen: Screen) -> None:
    screen.open("/events")
    screen.browser.switch_to.active_element.send_keys(Keys.TAB)
    assert screen.browser.switch_to.active_element.text == "Skip to the content"
    screen.browser.switch_to.active_element.send_keys(Keys.ENTER)
    screen.browser.switch_to.active_element.send_keys(Keys.TAB)
    focused = screen.browser.switch_to.active_element
    assert focused.get_attribute("id") == "event_id"
    assert screen.script("return getComputedStyle(arguments[0]).outlineWidth", focused) == "3px"


def test_nothing_that_came_from_outside_runs(screen: Screen) -> None:
    for path in ("/", f"/events/{screen.site.scene.events[EVIL]}", "/dead", GROUP):
        screen.open(path)
        assert screen.browser.title.endswith("· dc-relay")
        assert screen.says(EVIL)


def test_console_is_silent(screen: Screen) -> None:
    for path in PAGES:
        screen.open(path)
    assert screen.browser.get_log("browser") == []  # type: ignore[no-untyped-call]


def test_new_event_appears_without_a_reload_and_focus_stays(screen: Screen) -> None:
    site = screen.site
    screen.open("/")
    screen.script("document.body.dataset.mark = 'still the same page'")
    link = screen.browser.find_element(By.LINK_TEXT, "Store finder")
    screen.script("arguments[0].focus()", link)
    screen.script("document.querySelector('#day details').open = true; window.scrollTo(0, 300)")
    event = published("Brand new")
    accept(site.storage, [(event, match(event, site.settings.rules))])
    screen.wait_until("document.querySelector('#latest').textContent.includes('Brand new')")
    assert screen.script("return document.body.dataset.mark") == "still the same page"
    assert screen.script("return document.activeElement.textContent") == "Store finder"
    assert screen.script("return document.querySelector('#day details').open")
    assert screen.script("return window.scrollY") == 300


def test_what_a_person_writes_is_left_alone(screen: Screen) -> None:
    screen.open("/destinations")
    box = screen.browser.find_element(By.NAME, "reason")
    box.send_keys("because")
    screen.refresh_now()
    screen.script("return new Promise((done) => setTimeout(done, 200))")
    assert box.get_attribute("value") == "because"
    assert screen.browser.switch_to.active_element == box


def test_live_can_be_stopped(screen: Screen) -> None:
    screen.open("/")
    button = screen.browser.find_element(By.CSS_SELECTOR, "#follow button")
    assert button.get_attribute("aria-pressed") == "true"
    button.send_keys(Keys.ENTER)
    assert button.get_attribute("aria-pressed") == "false"
    screen.refresh_now()
    assert screen.script("return document.body.dataset.refreshed") is None


def test_page_works_without_scripts(screen: Screen) -> None:
    off = {"value": True}
    screen.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", off)
    try:
        screen.open("/events")
        label = screen.browser.find_element(By.ID, "label")
        label.send_keys("shop h")
        screen.press(label)
        screen.press(screen.browser.find_element(By.LINK_TEXT, "Shop hero"))
        assert screen.says("Given up. Mend the cause")
    finally:
        screen.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_destination_is_paused_and_resumed_by_hand(screen: Screen) -> None:
    screen.open("/destinations")
    reason = screen.browser.find_element(By.NAME, "reason")
    reason.send_keys("a new index")
    screen.press(reason)
    assert screen.says("search is paused")
    assert screen.says("a new index")
    resume = "//h2[contains(., 'search')]/..//button[contains(., 'Resume')]"
    screen.press(screen.browser.find_element(By.XPATH, resume))
    assert screen.says("search is sent its queue again")


# After all others: it changes what they look at.
def test_dead_group_is_looked_at_and_retried_with_the_keyboard_alone(screen: Screen) -> None:
    _shoot(screen)
    screen.open("/dead")
    screen.press(screen.browser.find_element(By.CSS_SELECTOR, "a.button[href*=shop]"))
    assert screen.says("Retry 3 dead jobs")
    screen.open("/dead")
    for _ in range(30):
        screen.browser.switch_to.active_element.send_keys(Keys.TAB)
        if screen.browser.switch_to.active_element.text.startswith("Retry all 3"):
            break
    screen.press(screen.browser.switch_to.active_element)
    assert screen.says("3 jobs will be tried again now.")


def _shoot(screen: Screen) -> None:
    """Take pictures of every page for a person to look at, into the folder SCREENSHOTS."""
    if not SCREENSHOTS:
        return
    folder = Path(SCREENSHOTS)
    folder.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate((*PAGES, "/login", "/events?label=nothing-like-it")):
        for preferred, pixels in (("light", 1200), ("dark", 1200), ("light", 360)):
            scheme(screen.browser, preferred)
            width(screen.browser, pixels)
            screen.open(path)
            high = screen.script("return document.documentElement.scrollHeight")
            width(screen.browser, pixels, min(high, 4000))
            screen.browser.save_screenshot(str(folder / f"{number}-{preferred}-{pixels}.png"))
