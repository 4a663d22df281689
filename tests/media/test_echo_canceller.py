"""The canceller delays what it hears by what is stated, and may be missing."""

import sys

import numpy as np
import pytest

from relay.media.echo_canceller import DELAY_MS, RATE_HZ, canceller_maker
from relay.media.echo_control import EchoControl


def test_a_sound_comes_out_of_a_canceller_later_by_its_delay() -> None:
    make = canceller_maker()
    assert make is not None
    click = np.zeros(RATE_HZ, np.int16)
    click[4000] = 20000

    cleaned = make().process(click, np.zeros(RATE_HZ, np.int16))

    assert int(np.argmax(np.abs(cleaned))) == 4000 + DELAY_MS * RATE_HZ / 1000


def test_without_the_library_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pywebrtc_audio", None)

    assert canceller_maker() is None


def test_a_line_takes_a_canceller_only_once_there_may_be_an_echo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes 0.33 MB, and most lines never need one."""
    made = 0

    class Counted:
        def __init__(self, **_: int) -> None:
            nonlocal made
            made += 1

    monkeypatch.setattr("pywebrtc_audio.EchoCanceller", Counted)
    control, silence = EchoControl("auto"), np.zeros(320, np.int16)
    for _ in range(100):
        control.push(silence, silence)

    assert made == 0
