"""The dashboard as a real browser shows it: one server, one Chromium, one sign-in for all tests.

Skipped, and said so, where Debian's `chromium` and `chromium-driver` are not installed.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from selenium.common.exceptions import (
    NoSuchElementException,
    StaleElementReferenceException,
    TimeoutException,
)
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.ui import WebDriverWait
from werkzeug.serving import WSGIRequestHandler, make_server

from app.bootstrap import build_web
from app.config import Settings
from app.db import Storage, upgrade_schema
from app.web import create_app
from tests.browser.driving import CHROMIUM, DRIVER, chromium, scheme, width
from tests.browser.scene import TOKEN, Scene, add_history, fill, keep_beating, scene_settings

# A folder to put pictures of every page into, for a person to look at.
SCREENSHOTS = os.environ.get("SCREENSHOTS")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "browser: needs Chromium and its driver")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = str(__file__).rpartition("/")[0]
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.browser)
            if not (CHROMIUM and DRIVER):
                why = "chromium and chromedriver are not installed: no page was looked at"
                item.add_marker(pytest.mark.skip(reason=why))


class _Quiet(WSGIRequestHandler):
    def log(self, *_: Any, **__: Any) -> None:
        return


@dataclass(frozen=True)
class Site:
    """The running dashboard, and what is in its ledger."""

    url: str
    settings: Settings
    storage: Storage
    scene: Scene


@dataclass(frozen=True)
class Screen:
    """The browser in front of the site."""

    browser: Chrome
    site: Site

    def open(self, path: str) -> None:
        """Go to a path; `{Label}` in it is the number of the scene's event of that label."""
        self.browser.get(self.site.url + path.format_map(self.site.scene.events))

    def script(self, code: str, *arguments: Any) -> Any:
        return self.browser.execute_script(code, *arguments)

    def says(self, text: str) -> bool:
        """Whether the page has a text, or soon has: it may be loading still."""
        with suppress(TimeoutException):
            self._waiting.until(lambda page: text in page.find_element(By.TAG_NAME, "main").text)
            return True
        return False

    def press(self, element: WebElement) -> None:
        """Press Enter on a link, a button or a field, and wait until it has led to another page.

        Whoever looks sooner may see the old page, or lose it between two looks.
        """
        old = self.browser.find_element(By.TAG_NAME, "html")
        element.send_keys(Keys.ENTER)
        self._waiting.until(staleness_of(old))

    @property
    def _waiting(self) -> WebDriverWait[Chrome]:
        passing = [NoSuchElementException, StaleElementReferenceException]
        return WebDriverWait(self.browser, 10, 0.05, passing)

    def wait_until(self, code: str) -> None:
        """Wait until a script's expression is true; the page asks again every three seconds."""
        WebDriverWait(self.browser, 10, 0.05).until(lambda _: self.script(f"return {code}"))

    def refresh_now(self) -> None:
        """Let the page ask again at once, as it does when its tab is shown."""
        self.script("document.dispatchEvent(new Event('visibilitychange'))")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    url = f"sqlite:///{tmp_path_factory.mktemp('site')}/relay.db"
    storage = Storage(url)
    upgrade_schema(storage)
    settings = scene_settings(database_url=url)
    # A day of traffic is for the pictures; no test needs it.
    add_history(storage, 600 if SCREENSHOTS else 0)
    scene = fill(storage, settings)
    services = build_web(settings)
    server = make_server(
        "127.0.0.1", 0, create_app(services), threaded=True, request_handler=_Quiet
    )
    serving = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    serving.start()
    over = threading.Event()
    beating = threading.Thread(target=keep_beating, args=(storage, over), daemon=True)
    beating.start()
    yield Site(f"http://127.0.0.1:{server.port}", settings, storage, scene)
    over.set()
    beating.join(5)
    server.shutdown()
    serving.join(5)
    server.server_close()
    services.ledger.close()
    storage.close()


@pytest.fixture(scope="session")
def signed_in(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        screen = Screen(browser, site)
        width(browser, 1200)
        screen.open("/login")
        browser.find_element(By.ID, "token").send_keys(TOKEN)
        screen.press(browser.find_element(By.CSS_SELECTOR, "main button"))
        yield screen


@pytest.fixture
def screen(signed_in: Screen) -> Screen:
    """A wide, light window, signed in."""
    scheme(signed_in.browser, "light")
    width(signed_in.browser, 1200)
    signed_in.browser.get_log("browser")  # type: ignore[no-untyped-call]
    return signed_in
