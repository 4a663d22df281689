"""Finds out how much of the assistant's audio to collect before it is played: the target of the playout buffer.

Frames are measured against a reader without any buffer: each time it would run dry within speech, the buffer must be
larger by that much. What was measured fades by `FADE` of the time, so that one stall is forgotten within a minute. A
sender that runs ahead of real time, and the silence between turns, are no jitter.

| state    | target                                                           | leaves when                         |
|----------|------------------------------------------------------------------|-------------------------------------|
| steady   | as configured, whatever is measured                              | `underrun` or `backlog` -> adapting |
| adapting | up to what is needed at each `underrun`, down to it in each      | never                               |
|          | pause; not below the configured one before a backlog was seen    |                                     |
"""

from math import ceil, inf

from relay.media.frames import FRAME_MS

LEAST_MS = 60.0
MOST_MS = 400.0
MARGIN_MS = 40.0
"""More than was needed so far: the worst is yet to come."""
FADE = 0.01
SPEECH_GAP_MS = 1000.0
"""A longer gap is a pause that the sender did not fill."""
SURE_AFTER_MS = 10_000.0
"""So much speech must have been measured before the target goes below the configured one."""


class JitterTarget:
    """The target of one call, and the jitter measured for it. Times are monotonic seconds.

    A configured target outside of `LEAST_MS` to `MOST_MS` widens these bounds.
    """

    def __init__(self, target_ms: float) -> None:
        self._configured_ms = target_ms
        self._most_ms = max(MOST_MS, target_ms)
        self.target_ms = target_ms
        self._adapting = False
        self._backlog_seen = False
        self._measured_ms = 0.0
        self._jitter_ms = 0.0
        """The buffer that would have sufficed, lately."""
        self._dry_at = -inf
        self._arrived_at = -inf
        self._in_speech = False

    def arrived(self, at: float, *, audible: bool) -> None:
        """The next frame of the stream."""
        fade_ms = min(self._jitter_ms, FADE * max(0.0, at - self._arrived_at) * 1000)
        self._jitter_ms -= fade_ms
        gap_ms = (at - self._dry_at) * 1000
        if gap_ms > 0 and self._in_speech and audible and gap_ms <= SPEECH_GAP_MS:
            self._jitter_ms = min(self._jitter_ms + gap_ms, self._most_ms)
        self._dry_at = max(at, self._dry_at - fade_ms / 1000)
        self._dry_at += FRAME_MS / 1000
        self._arrived_at = at
        self._in_speech = audible
        self._measured_ms += FRAME_MS * audible

    def cut(self) -> None:
        """What comes next is not the continuation of what came."""
        self._in_speech = False

    def underrun(self) -> None:
        """The buffer ran dry within speech."""
        self._adapting = True
        self.target_ms = max(self.target_ms, self._needed_ms())

    def backlog(self) -> None:
        """The buffer holds far more than its target."""
        self._adapting = self._backlog_seen = True

    def pause(self) -> bool:
        """Nobody would notice a shorter buffer now. Whether the target has become smaller."""
        before = self.target_ms
        if self._adapting:
            self.target_ms = min(before, self._needed_ms())
        return self.target_ms < before

    def _needed_ms(self) -> float:
        sure = self._backlog_seen and self._measured_ms >= SURE_AFTER_MS
        least_ms = min(LEAST_MS, self._configured_ms) if sure else self._configured_ms
        needed_ms = ceil((self._jitter_ms + MARGIN_MS) / FRAME_MS) * FRAME_MS
        return min(max(least_ms, needed_ms), self._most_ms)
