"""The time is believed an hour after the start, and a day after a jump."""

import time

import pytest

from relay.record.believed_time import BelievedTime

YEAR_S = 365 * 86400.0
HOUR_S, DAY_S, MINUTE_S = 3600.0, 86400.0, 60.0


class Clocks:
    """Both clocks of the machine; `pass_s` lets so much time go by, looked at each minute."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time, self.monotonic = 1e9, 5.0
        monkeypatch.setattr(time, "time", lambda: self.time)
        monkeypatch.setattr(time, "monotonic", lambda: self.monotonic)

    def pass_s(self, believed: BelievedTime, seconds: float) -> list[float]:
        jumps = []
        for _ in range(round(seconds / MINUTE_S)):
            self.time += MINUTE_S
            self.monotonic += MINUTE_S
            jumps.append(believed.look())
        return [jump for jump in jumps if jump]


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


def test_it_is_believed_an_hour_after_the_start(clocks: Clocks) -> None:
    believed = BelievedTime()
    assert clocks.pass_s(believed, HOUR_S - MINUTE_S) == []
    assert not believed.is_believed
    clocks.pass_s(believed, MINUTE_S)

    assert believed.is_believed


@pytest.mark.parametrize("jump_s", [10 * YEAR_S, -10 * YEAR_S, 61.0])
def test_after_a_jump_it_is_not_believed_for_a_day_and_the_jump_is_told_once(jump_s: float, clocks: Clocks) -> None:
    believed = BelievedTime()
    clocks.pass_s(believed, HOUR_S)
    clocks.time += jump_s
    assert clocks.pass_s(believed, DAY_S) == [pytest.approx(jump_s)]
    assert not believed.is_believed
    clocks.pass_s(believed, 2 * MINUTE_S)

    assert believed.is_believed


def test_a_jump_that_is_put_right_is_another_and_then_nothing_was_lost(clocks: Clocks) -> None:
    believed = BelievedTime()
    clocks.pass_s(believed, HOUR_S)
    clocks.time += YEAR_S
    clocks.pass_s(believed, HOUR_S)
    clocks.time -= YEAR_S
    assert clocks.pass_s(believed, DAY_S) == [pytest.approx(-YEAR_S)]

    assert not believed.is_believed


def test_small_corrections_are_no_jumps(clocks: Clocks) -> None:
    believed = BelievedTime()
    for _ in range(60):
        clocks.time += 59.0
        assert clocks.pass_s(believed, MINUTE_S) == []

    assert believed.is_believed
