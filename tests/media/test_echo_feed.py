"""A line without an echo is left alone, and looked at when an echo would matter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.media import echo_feed, g711
from relay.media.echo_control import EchoFound, EchoMode, EchoState
from relay.media.echo_estimate import glance
from relay.media.echo_feed import EARLY_LOOKS, EARLY_MS, LEAST_REST_MS, REST_MS, EchoFeed
from relay.media.frames import TELEPHONE
from relay.media.resample import Samples
from relay.standin.echo import EchoPath

FRAME, FRAME_MS = 160, 20
FAR = g711.encode(np.random.default_rng(5).normal(0, 3000, 8000 * 40).astype(np.int16))
"""Noise, of which each moment is as good as the other to look for an echo."""
ROOM = np.random.default_rng(6).normal(0, 40, 8000 * 40).astype(np.int16)
"""The caller's side is never silent: looks find something to compare."""
ECHO = g711.encode(ROOM + EchoPath(8000, delay_ms=180, loss_db=15).push(g711.decode(FAR)))
QUIET = g711.encode(ROOM)


class Line:
    """Feeds frame by frame, and counts how often it was looked at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch | None = None, mode: EchoMode = "auto") -> None:
        self.feed = EchoFeed(TELEPHONE, mode)
        self.at = self.looks = 0
        if monkeypatch is not None:
            monkeypatch.setattr(echo_feed, "glance", self._counted)

    def _counted(self, near: Samples, far: Samples, rate_hz: int) -> float:
        self.looks += 1
        return glance(near, far, rate_hz)

    def run(self, near: bytes, ms: float, *, far: bytes | None = FAR, size: int = FRAME) -> float | None:
        """Feed so much. Return after how many ms an echo was found."""
        end = start = self.at
        while end - start < ms * 8:
            end += size
            self.feed.push(near[self.at : end], None if far is None else far[self.at : end])
            self.at = end
            if isinstance(self.feed.control.news, EchoFound):
                return (end - start) / 8
        return None

    def rest(self) -> None:
        """Feed until the line is known to be clean."""
        self.run(QUIET, 8000)
        assert self.feed.control.state is EchoState.RESTING


def test_a_line_that_is_long_clean_is_looked_at_every_few_seconds_only(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line(monkeypatch)
    line.rest()
    line.looks = 0

    line.run(QUIET, 4 * REST_MS)

    assert line.looks == 4


def test_a_new_line_is_looked_at_often_before_it_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line(monkeypatch)
    line.run(QUIET, 2000)
    line.looks = 0

    line.run(QUIET, 4 * EARLY_MS)
    early = line.looks
    line.run(QUIET, EARLY_LOOKS * EARLY_MS)
    line.looks = 0
    line.run(QUIET, REST_MS - 20)

    assert early == pytest.approx(4, abs=1)
    assert line.looks <= 1


def test_an_echo_that_begins_a_little_later_is_found_though_nobody_takes_it_for_speech() -> None:
    line = Line()
    line.run(QUIET, 2000)
    assert line.feed.control.state is EchoState.RESTING

    found_ms = line.run(ECHO, REST_MS)

    assert found_ms is not None
    assert found_ms <= 2 * EARLY_MS + 180


def test_a_line_that_never_rests_is_compared_step_by_step_in_its_first_seconds() -> None:
    line = Line(mode="on")
    line.run(QUIET, 3000)

    found_ms = line.run(ECHO, REST_MS)

    assert found_ms is not None
    assert found_ms <= 500


def test_a_line_that_had_an_echo_is_looked_at_like_a_new_one() -> None:
    line = Line()
    line.rest()
    assert line.run(ECHO, 2 * REST_MS) is not None
    line.run(QUIET, 7000)
    assert line.feed.control.state is EchoState.RESTING

    found_ms = line.run(ECHO, REST_MS)

    assert found_ms is not None
    assert found_ms <= 2 * EARLY_MS + 180


def test_a_caller_who_talks_over_the_assistant_all_the_time_costs_less_than_a_look_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = Line(monkeypatch)
    line.rest()
    line.looks = 0

    for _ in range(100):
        line.feed.look_soon()
        line.run(QUIET, 100)

    assert line.looks == pytest.approx(10_000 / LEAST_REST_MS, abs=1)


def test_it_rests_on_while_nothing_is_played(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line(monkeypatch)
    line.rest()
    line.run(QUIET, 2000, far=None)
    line.looks = 0

    line.feed.look_soon()
    line.run(QUIET, 3 * REST_MS, far=None)

    assert line.looks == 0


@settings(max_examples=10)
@given(size=st.integers(40, 400))
def test_an_echo_that_is_heard_as_speech_is_found_at_once_with_its_delay(size: int) -> None:
    line = Line()
    line.rest()
    line.run(QUIET, 500, size=size)
    line.run(ECHO, 260, size=size)
    line.feed.look_soon()

    found_ms = line.run(ECHO, 1000, size=size)

    assert found_ms is not None
    assert found_ms < 300
    assert isinstance(line.feed.control.news, EchoFound)
    assert line.feed.control.news.delay_ms == pytest.approx(180, abs=5)


def test_an_echo_is_found_at_once_however_shortly_before_the_line_was_looked_at() -> None:
    line = Line()
    line.rest()
    line.feed.look_soon()
    line.run(QUIET, LEAST_REST_MS + 40)

    line.feed.look_soon()
    found_ms = line.run(ECHO, 4000)

    assert found_ms is not None
    assert found_ms < LEAST_REST_MS + 200


def test_an_echo_that_nobody_takes_for_speech_is_found_when_the_line_is_looked_at_again() -> None:
    line = Line()
    line.rest()

    found_ms = line.run(ECHO, 2 * REST_MS)

    assert found_ms is not None
    assert found_ms <= REST_MS + 500


def test_a_loss_while_it_rests_moves_no_echo() -> None:
    line = Line()
    line.rest()
    line.run(QUIET, 1500)
    line.run(ECHO, 100)
    for _ in range(3):
        line.feed.lost(FAR[line.at : line.at + FRAME])
        line.at += FRAME
    line.run(ECHO, 100)
    line.feed.look_soon()

    assert line.run(ECHO, 1000) is not None
    assert isinstance(line.feed.control.news, EchoFound)
    assert line.feed.control.news.delay_ms == pytest.approx(180, abs=5)
