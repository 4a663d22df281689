"""A pause is shortened to 300 ms, never below, and keeps its part on each side."""

import pytest

from relay.logic.pause_rule import BEFORE_WORD_FRAMES, BEHIND_WORD_FRAMES, spare_frames
from relay.media.frames import FRAME_MS


def heard_ms(pause_frames: int) -> int:
    """How long a pause is when each frame of it is asked for in turn."""
    left, passed = pause_frames, 0
    while left:
        left -= spare_frames(passed, left)
        left -= 1
        passed += 1
    return passed * FRAME_MS


@pytest.mark.parametrize(
    ("pause_ms", "heard"), [(20, 20), (280, 280), (300, 300), (320, 300), (340, 300), (1000, 300), (60_000, 300)]
)
def test_a_pause_over_300_ms_is_shortened_to_300_ms(pause_ms: int, heard: int) -> None:
    assert heard_ms(pause_ms // FRAME_MS) == heard


def test_both_sides_together_are_300_ms_and_equal_to_the_frame() -> None:
    assert (BEHIND_WORD_FRAMES + BEFORE_WORD_FRAMES) * FRAME_MS == 300
    assert abs(BEHIND_WORD_FRAMES - BEFORE_WORD_FRAMES) <= 1


@pytest.mark.parametrize("passed", range(BEHIND_WORD_FRAMES))
def test_nothing_is_left_out_right_behind_a_word(passed: int) -> None:
    assert spare_frames(passed, 1000) == 0
