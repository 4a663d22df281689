"""The rule that shortens a pause between words: one of more than 300 ms becomes one of 300 ms.

Half of that stays on each side, to the frame: 160 ms behind the word before, where its sound dies away, and 140 ms in
front of the next word.
"""

from relay.media.frames import FRAME_MS

BEHIND_WORD_FRAMES = 160 // FRAME_MS
BEFORE_WORD_FRAMES = 140 // FRAME_MS


def spare_frames(passed: int, ahead: int) -> int:
    """How many of the next `ahead` silent frames may be left out, when `passed` silent frames went before them."""
    return max(0, ahead - BEFORE_WORD_FRAMES) if passed >= BEHIND_WORD_FRAMES else 0
