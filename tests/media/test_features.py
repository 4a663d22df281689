"""Levels and the noise floor."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.media.features import QUIETEST_FLOOR_DBFS, SILENCE_DBFS, NoiseFloor, level_dbfs, levels_dbfs

WINDOW_MS = 32.0


def follow(floor: NoiseFloor, *levels_and_windows: tuple[float, int]) -> float:
    over = 0.0
    for level, windows in levels_and_windows:
        for _ in range(windows):
            over = floor.push(level)
    return over


@pytest.mark.parametrize(
    ("samples", "dbfs"),
    [
        (np.zeros(512), SILENCE_DBFS),
        (np.zeros(0), SILENCE_DBFS),
        (np.full(512, 32767), 0.0),
        (np.full(256, -32768), 0.0),
        (32767 * np.sin(np.arange(512) * np.pi / 8), -3.01),
        (np.full(512, 328), -40.0),
    ],
)
def test_levels_are_relative_to_a_full_scale_square_wave(samples: np.ndarray, dbfs: float) -> None:
    assert level_dbfs(samples.astype(np.int16)) == pytest.approx(dbfs, abs=0.02)


@given(
    samples=st.sampled_from([1, 256, 512]),
    windows=st.integers(1, 70),
    loudness=st.sampled_from([0, 1, 300, 32767]),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_levels_of_many_windows_are_those_of_each(samples: int, windows: int, loudness: int, seed: int) -> None:
    """To the last digit: a replay judges one window at a time, and must come to the same."""
    rows = np.random.default_rng(seed).integers(-loudness - 1, loudness, (windows, samples), np.int16, endpoint=True)

    assert levels_dbfs(list(rows)) == [level_dbfs(row) for row in rows]


def test_a_step_from_silence_is_as_high_as_it_sounds() -> None:
    assert follow(NoiseFloor(WINDOW_MS), (-60.0, 50), (-30.0, 1)) == pytest.approx(30.0, abs=0.2)


def test_the_floor_climbs_3_db_a_second_to_a_steady_noise_and_no_further() -> None:
    floor = NoiseFloor(WINDOW_MS)

    assert follow(floor, (-60.0, 1), (-40.0, 125)) == pytest.approx(8.0, abs=0.1)
    assert follow(floor, (-40.0, 125)) == pytest.approx(0.0, abs=0.1)
    assert floor.level_dbfs == pytest.approx(-40.0, abs=0.1)


def test_a_pause_between_words_pulls_the_floor_back() -> None:
    assert follow(NoiseFloor(WINDOW_MS), (-60.0, 1), (-20.0, 150), (-60.0, 6), (-20.0, 1)) > 36


def test_digital_silence_is_no_floor() -> None:
    assert follow(NoiseFloor(WINDOW_MS), (SILENCE_DBFS, 100), (-60.0, 1)) == pytest.approx(
        -60.0 - QUIETEST_FLOOR_DBFS, abs=0.2
    )
