"""A headless Chromium of the distribution, whose microphone is a WAV file."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SCRIPT_LIMIT_S = 30
INSECURE_HOST = "insecure.test"
"""Reaches loopback, but is no secure context."""


@contextmanager
def running_chromium(microphone: Path) -> Iterator[webdriver.Chrome]:
    """Skips the test when Chromium or its driver is not installed."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("chromium and chromium-driver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in (
        "headless=new",
        "use-fake-device-for-media-stream",
        f"use-file-for-fake-audio-capture={microphone}",
        f"host-resolver-rules=MAP {INSECURE_HOST} 127.0.0.1",
        "disable-dev-shm-usage",
        "no-proxy-server",
        *(["no-sandbox"] if os.geteuid() == 0 else []),
    ):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chromium = webdriver.Chrome(options, Service(driver))
    chromium.set_script_timeout(SCRIPT_LIMIT_S)
    try:
        yield chromium
    finally:
        chromium.quit()


def allow_microphone(chromium: webdriver.Chrome, *, allowed: bool) -> None:
    setting = "granted" if allowed else "denied"
    cdp(chromium, "Browser.setPermission", permission={"name": "microphone"}, setting=setting)


def cdp(chromium: webdriver.Chrome, command: str, **arguments: Any) -> Any:
    return chromium.execute_cdp_cmd(command, arguments)
