"""One Chromium for all tests of the web client."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from relay import standin
from tests.support.chromium import running_chromium
from tests.support.webpage import Page

MICROPHONE = Path(standin.__file__).parent / "speech" / "description.wav"


@pytest.fixture(scope="session")
def chromium() -> Iterator[webdriver.Chrome]:
    with running_chromium(MICROPHONE) as driver:
        yield driver


@pytest.fixture
def page(chromium: webdriver.Chrome) -> Iterator[Page]:
    page = Page(chromium)
    yield page
    page.leave()
