"""The hearing knows when something was audible, in steps of 20 ms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.scenario.hearing import Hearing
from relay.standin.sound import Samples, tone

LOUD, QUIET = tone(440, 0.02, 8000, peak=0.5), np.zeros(160, np.int16)


def heard(blocks: str) -> Hearing:
    """A letter for each 20 ms: `x` is audible, `.` is not."""
    return Hearing(np.concatenate([np.zeros(0, np.int16), *(LOUD if block == "x" else QUIET for block in blocks)]))


def test_what_is_audible_is_counted_and_found() -> None:
    hearing = heard("..xx.x...")

    assert hearing.until_s == pytest.approx(0.18)
    assert hearing.audible_s(0.0, 0.18) == pytest.approx(0.06)
    assert hearing.audible_s(0.06, 0.10) == pytest.approx(0.02)
    assert hearing.first_audible_s(0.0) == pytest.approx(0.04)
    assert hearing.first_audible_s(0.05) == pytest.approx(0.05)
    assert hearing.first_audible_s(0.12) is None
    assert hearing.reached_s(0.0, 0.06) == pytest.approx(0.12)


def test_a_silence_counts_once_it_is_long_enough() -> None:
    hearing = heard("x..x....x..")

    assert hearing.next_silence_s(0.0, 0.04) == pytest.approx(0.02)
    assert hearing.next_silence_s(0.0, 0.06) == pytest.approx(0.08)
    assert hearing.next_silence_s(0.1, 0.06) == pytest.approx(0.1)
    assert hearing.next_silence_s(0.0, 0.1) is None
    assert hearing.longest_silence_s(0.0, 0.22) == pytest.approx(0.08)
    assert hearing.longest_silence_s(0.0, 0.06) == pytest.approx(0.04)


@pytest.mark.parametrize("blocks", ["", ".", "x"])
def test_next_to_nothing_can_be_asked_about(blocks: str) -> None:
    hearing = heard(blocks)

    assert hearing.next_silence_s(0.0, 1.0) is None
    assert hearing.longest_silence_s(5.0, 6.0) == 0.0
    assert hearing.first_audible_s(5.0) is None
    assert hearing.audible_s(5.0, 6.0) == 0.0


def test_a_block_that_is_not_whole_is_not_judged_yet() -> None:
    samples: Samples = np.concatenate([LOUD, LOUD[:100]])

    assert Hearing(samples).until_s == pytest.approx(0.02)


@given(st.text("x.", max_size=60), st.integers(0, 60))
def test_what_is_audible_and_the_silences_make_up_all_of_the_time(blocks: str, first: int) -> None:
    hearing, from_s = heard(blocks), first * 0.02
    silent_s, at_s = 0.0, from_s
    while (begin_s := hearing.next_silence_s(at_s, 0.02)) is not None:
        at_s = hearing.first_audible_s(begin_s) or hearing.until_s
        silent_s += at_s - begin_s
        if at_s >= hearing.until_s - 1e-9:
            break
    assert silent_s + hearing.audible_s(from_s, hearing.until_s) == pytest.approx(max(0.0, len(blocks) * 0.02 - from_s))
