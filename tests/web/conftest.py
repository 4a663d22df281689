"""One Chromium for all tests of the web client."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from selenium import webdriver

from relay.media.frames import WIDEBAND
from relay.standin.phrases import spoken
from relay.standin.sound import SPEECH_HZ, write_wav
from tests.support.chromium import running_chromium
from tests.support.webpage import Page


@pytest.fixture(scope="session")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the microphone hears, over and over: somebody who speaks, listens, and speaks again into the answer."""
    path = tmp_path_factory.mktemp("microphone") / "microphone.wav"
    stop, request = (np.frombuffer(spoken(name, WIDEBAND), np.int16) for name in ("stop", "request"))
    pause = np.zeros(SPEECH_HZ * 7, np.int16)
    write_wav(path, SPEECH_HZ, np.concatenate((stop, pause, request, pause)))
    return path


@pytest.fixture(scope="session")
def chromium(microphone: Path) -> Iterator[webdriver.Chrome]:
    with running_chromium(microphone) as driver:
        yield driver


@pytest.fixture
def page(chromium: webdriver.Chrome) -> Iterator[Page]:
    page = Page(chromium)
    yield page
    page.leave()
