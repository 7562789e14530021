"""A real Chromium, driven through its own driver; both come from the system's packages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions, ChromeService

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
)


@contextmanager
def chromium(profile: Path) -> Iterator[Chrome]:
    """Run a browser with an empty profile; it can reach this machine only."""
    assert CHROMIUM
    assert DRIVER
    options = ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*_FLAGS, f"--user-data-dir={profile}", "--proxy-server=http://127.0.0.1:9"):
        options.add_argument(flag)
    options.add_argument("--proxy-bypass-list=127.0.0.1")
    # What a page's script says on the console, and what the policy refused.
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # The driver is named, so nothing looks for one elsewhere.
    service = ChromeService(executable_path=DRIVER, env={**os.environ, "SE_AVOID_STATS": "true"})
    browser = Chrome(options=options, service=service)
    browser.set_page_load_timeout(20)
    try:
        yield browser
    finally:
        browser.quit()


def scheme(browser: Chrome, name: str) -> None:
    """Have pages see that the person prefers `light` or `dark`."""
    features = [{"name": "prefers-color-scheme", "value": name}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def width(browser: Chrome, pixels: int, height: int = 900) -> None:
    """Give the page a window of so many CSS pixels, as a phone would for 360."""
    metrics = {"width": pixels, "height": height, "deviceScaleFactor": 1, "mobile": pixels < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
