"""Keeps the assistant's audio while the fence is closed, and finds where in it new words begin."""

from relay.logic.playback.frame import PlayFrame

WORD_PAUSE_S = 0.2
"""The shortest pause that separates two runs of sound."""
MAX_HELD_FRAMES = 3000
"""One minute: a fence is closed for five seconds at most, and the assistant may send ahead."""


class Held:
    """At most `MAX_HELD_FRAMES` in order. `after_longest` and `after_last` are where words begin: indexes of `frames`.

    What comes when it is full is dropped, and counted in `overflow`. Then no words are known to begin anywhere in it,
    because what follows them is incomplete.
    """

    def __init__(self) -> None:
        self.frames: list[PlayFrame] = []
        self.overflow = 0
        self.forget_pauses()

    def forget_pauses(self) -> None:
        """No words that are held so far begin a new turn."""
        self.longest_pause_s = 0.0
        self.after_longest: int | None = None
        self.after_last: int | None = None

    def add(self, frame: PlayFrame, pause_s: float) -> None:
        """`pause_s`: the silence in front of this frame."""
        if len(self.frames) >= MAX_HELD_FRAMES:
            self.overflow += 1
            self.forget_pauses()
            return
        if frame.audible and pause_s >= WORD_PAUSE_S:
            self.after_last = len(self.frames)
            if pause_s >= self.longest_pause_s:
                self.longest_pause_s, self.after_longest = pause_s, self.after_last
        self.frames.append(frame)
