"""The loop is late after lags that last, and open again when there has been calm for a while."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.logic.lateness import CALM_MEAN_S, CALM_S, LAG_MAX_S, LATE_MEAN_S, Lateness

EVERY_S = 0.1


class Clocked:
    """Notes a lag every EVERY_S."""

    def __init__(self) -> None:
        self.lateness = Lateness()
        self.now = 0.0

    def note(self, lag_s: float, for_s: float = EVERY_S) -> list[float]:
        """The same lag for that time; returns how long after the beginning `late` changed."""
        began, changed = self.now, []
        while self.now < began + for_s - 1e-9:
            self.now += EVERY_S
            if self.lateness.note(lag_s, self.now):
                changed.append(round(self.now - began, 3))
        return changed


def late() -> Clocked:
    line = Clocked()
    line.note(0.1, for_s=1)
    assert line.lateness.late
    return line


def test_it_begins_open() -> None:
    assert not Clocked().lateness.late


@pytest.mark.parametrize(("lag_s", "after_s"), [(1.0, 0.4), (0.1, 0.4), (0.02, 2.3), (LATE_MEAN_S * 1.05, 10.0)])
def test_the_later_the_loop_the_sooner_no_call_is_taken(lag_s: float, after_s: float) -> None:
    assert Clocked().note(lag_s, for_s=20) == [pytest.approx(after_s, abs=0.11)]


@given(lags=st.lists(st.floats(0, LATE_MEAN_S), max_size=200))
def test_a_mean_under_the_bound_is_never_late(lags: list[float]) -> None:
    line = Clocked()

    assert [line.note(lag_s) for lag_s in lags] == [[]] * len(lags)


def test_a_standstill_that_comes_alone_is_not_late_however_long_it_is() -> None:
    line = Clocked()
    line.note(0.001, for_s=5)

    assert line.note(20.0) == line.note(0.001, for_s=5) == []


@pytest.mark.parametrize("late_for_s", [1, 100])
def test_it_opens_when_the_calm_has_lasted(late_for_s: float) -> None:
    line = late()
    line.note(0.1, for_s=late_for_s)
    (after_s,) = line.note(0.0, for_s=20)

    assert CALM_S < after_s <= CALM_S + 10


def test_a_lag_in_the_calm_lets_it_begin_anew() -> None:
    line = late()
    while line.lateness.mean_s >= CALM_MEAN_S:
        assert line.note(0.0) == []
    assert line.note(0.0, for_s=CALM_S / 2) == line.note(LAG_MAX_S, for_s=3 * EVERY_S) == []
    (after_s,) = line.note(0.0, for_s=20)

    assert after_s > CALM_S


@given(between=st.lists(st.floats(CALM_MEAN_S, LATE_MEAN_S), max_size=100))
def test_between_the_two_bounds_nothing_changes(between: list[float]) -> None:
    was_open, was_late = Clocked(), late()
    for lag_s in between:
        assert was_open.note(lag_s) == was_late.note(lag_s) == []


@given(lags=st.lists(st.floats(0, 10), max_size=200))
def test_no_two_changes_to_open_are_nearer_than_the_calm(lags: list[float]) -> None:
    line = Clocked()
    opened = [line.now for lag_s in lags if line.note(lag_s) and not line.lateness.late]

    assert all(later - earlier >= CALM_S - 1e-6 for earlier, later in zip([0.0, *opened], opened, strict=False))
