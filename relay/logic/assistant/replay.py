"""The log of the caller's audio, from which the assistant gets it: once, and after a loss again.

The forwarder reads at its cursor and waits when it has read everything. Until a connection stands the log keeps what
the caller says; then the same code sends what is old and what is new. A new assistant call knows only the sentences
that were finished, so after a loss the cursor goes back to the end of the last one.

A reader that is far behind without a loss was held up, most likely as this whole process stood still, and all that the
caller said meanwhile has come at once. It would hear the caller that much later for the rest of the call, so it catches
up as after a loss. So does one that is quick enough to read each frame as it comes: what counts is how much it has read
beyond real time, not the order in which tasks happen to run.

| state     | meaning                                                       | leaves when                           |
|-----------|---------------------------------------------------------------|---------------------------------------|
| fresh     | no connection has read anything yet                           | a frame is read -> opening            |
| opening   | the backlog of the first dial goes out at once                | at most `EDGE_FRAMES` unread -> live; |
|           |                                                               | `rewind()` -> replaying               |
| live      | what is there goes out at once, up to `BEHIND_FRAMES` more    | `rewind()` -> replaying; more than    |
|           | than real time; beyond that, at `CATCH_UP` times real time    | `BEHIND_FRAMES` unread, or more than  |
|           |                                                               | `EDGE_FRAMES` beyond that             |
|           |                                                               | -> replaying                          |
| replaying | one frame every 20 ms / `rate`; pauses are shortened by the   | at most `EDGE_FRAMES` unread -> live; |
|           | rule of `relay.logic.pause_rule`                              | `rewind()` -> replaying, from the     |
|           |                                                               | first frame again                     |
"""

from itertools import islice
from math import inf
from typing import Literal, NamedTuple

from relay.logic.assistant.kept_frames import KeptFrames, Remake
from relay.logic.pause_rule import BEHIND_WORD_FRAMES, spare_frames
from relay.media.frames import FRAME_MS

EDGE_FRAMES = 8
"""So close to the newest frame the reader has caught up: what is left is no more than a chunk that comes late."""
BEHIND_FRAMES = 1000 // FRAME_MS
"""More than a network or a busy machine holds up now and then."""
CATCH_UP = 1.05
"""Faster than any caller's clock, so that what was read at once is forgotten in time."""
HELD_UP_FRAMES = 30_000 // FRAME_MS
"""Room for what a standstill brings at once, beside what is kept for a loss: systemd ends a longer one."""
_BEHIND_S = BEHIND_FRAMES * FRAME_MS / 1000
_CAUGHT_UP_S = FRAME_MS / 1000 / CATCH_UP
LATE_S = 1.0
"""A reader that comes later than this does not make up for it: the assistant's ears want real time. One that a busy
machine holds up now and then does, or it would never catch up with a caller who talks on."""


class NextFrame(NamedTuple):
    """The frame to send now, if there is one, and how many frames of a pause are left out before it."""

    frame: bytes | None
    left_out: int = 0


class Rewind(NamedTuple):
    """The numbers of frames that are `unread` now, that were sent before and are sent `again`, and of speech that would
    have to be sent again but was `dropped`, because the log had no room for it."""

    unread: int
    again: int
    dropped: int


class ReplayLog:
    """20 ms frames, numbered from 0 for the whole call, at most `max_ms` of them; the oldest go first.

    While a connection reads them there is room for `HELD_UP_FRAMES` more, until it has caught up.

    What was read is what was appended, less what is unread, dropped or left out, and what was read again: each method
    says what it did of these. It begins with the first frame that belongs to no finished sentence, or with the oldest
    that there was room for. Times are monotonic seconds. `rate` is the speed of a replay: 1 is real time.
    """

    def __init__(self, max_ms: float, rate: float = 1.0, remake: Remake | None = None) -> None:
        """`remake` makes a frame again of its original: then the log takes the room of the originals."""
        self._max_frames = self._room = max(1, int(max_ms / FRAME_MS))
        self._period_s = FRAME_MS / 1000 / rate
        self._frames = KeptFrames(remake)
        self._speech = bytearray()
        """Of each frame: 1, or 0 where it is part of a pause."""
        self._start = self._cursor = self._end = 0
        self._fresh = self._opening = True
        self._replaying = self._held_up = False
        self._made_up = 0
        self._due = self._live_due = -inf
        """When the next frame may be read, replaying and live."""
        self._silent_run = 0
        self._lost_if_rewound = 0
        self._dropped = 0

    @property
    def cursor(self) -> int:
        """The number of the next frame to read: all before it was sent."""
        return self._cursor

    @property
    def replaying(self) -> bool:
        """Whether the reader is still behind, because a connection was lost, or it was held up."""
        return self._replaying

    @property
    def made_up_ms(self) -> int:
        """Of pauses, what was left out because the reader was held up, without a loss."""
        return self._made_up * FRAME_MS

    @property
    def unread_ms(self) -> int:
        return (self._end - self._cursor) * FRAME_MS

    @property
    def dropped_ms(self) -> int:
        """Speech of the whole call that never reached the assistant, or could not be sent again when it had to be."""
        return self._dropped * FRAME_MS

    def append(self, frame: bytes, original: bytes | None = None) -> Literal["overflow", "pause"] | None:
        """The newest frame, and the bytes that it was made of, if it can be made of them again (see `KeptFrames`).

        Until it is said to be part of a pause it is taken for speech.

        Returns what fell off unread to make room for it, if anything did: speech ("overflow"), or part of a "pause".
        """
        fell_off = self._forget_oldest() if self._end - self._start >= self._room else None
        while self._end - self._start >= self._max_frames and self._start < self._cursor and not self._is_behind:
            self._forget_oldest()
        self._frames.append(frame, original)
        self._speech.append(1)
        self._end += 1
        return fell_off

    def mark_speech(self, from_frame: int) -> None:
        """The detector has found out that speech began with this frame: none since then is a pause."""
        for index in range(max(0, from_frame - self._start), len(self._speech)):
            self._speech[index] = 1

    def mark_pause(self, from_frame: int, upto_frame: int) -> None:
        """The detector has heard nothing in these: they may be left out of a replay.

        `upto_frame` is the first that is not meant.
        """
        for index in range(max(0, from_frame - self._start), min(upto_frame - self._start, len(self._speech))):
            self._speech[index] = 0

    def finish_sentence(self, upto_frame: int) -> None:
        """Everything before this frame was understood and need never be sent again. What was not sent stays."""
        upto = min(upto_frame, self._cursor)
        self._lost_if_rewound = min(self._lost_if_rewound, max(0, self._start - upto))
        while self._start < upto:
            self._pop()

    def rewind(self) -> Rewind:
        """The connection is lost: read again from the first unfinished frame."""
        dropped, self._lost_if_rewound = self._lost_if_rewound, 0
        again = self._cursor - self._start + dropped
        self._dropped += dropped
        self._cursor = self._start
        self._replaying, self._held_up = not self._fresh, False
        if len(self._frames) <= self._max_frames:
            self._room = self._max_frames
        self._due = -inf
        self._silent_run = 0
        return Rewind(self._end - self._cursor, again, dropped)

    def next_at(self, now: float) -> float | None:
        """When `read` will give a frame; None when all were read."""
        if self._cursor == self._end:
            return None
        return max(now, self._due if self._replaying else self._live_due)

    def read(self, now: float = inf) -> NextFrame:
        """What may be sent now: nothing when all was read, or a replay has to wait (see `next_at`)."""
        left_out = 0
        if self._end - self._cursor <= EDGE_FRAMES:
            self._opening = False
        elif self._is_held_up(now) and not (self._opening or self._replaying):
            self._replaying, self._due, self._silent_run = True, max(now, self._live_due), 0
            self._held_up = True
        if self._replaying:
            left_out = self._skip_pause()
            self._made_up += left_out * self._held_up
            self._replaying = self._end - self._cursor > EDGE_FRAMES
        if self._cursor == self._end or now < (self._due if self._replaying else self._live_due):
            return NextFrame(None, left_out)
        self._fresh = False
        if not self._replaying:
            self._room = self._max_frames + HELD_UP_FRAMES
            if not self._opening:
                earliest = now - _BEHIND_S
                self._live_due = max(self._live_due, earliest) + _CAUGHT_UP_S
        place = self._cursor - self._start
        self._cursor += 1
        if self._replaying:
            self._silent_run = 0 if self._speech[place] else self._silent_run + 1
            self._due = (now if now > self._due + LATE_S else self._due) + self._period_s
        return NextFrame(self._frames[place], left_out)

    @property
    def _is_behind(self) -> bool:
        return self._end - self._cursor > BEHIND_FRAMES

    def _is_held_up(self, now: float) -> bool:
        """For a reader that is more than `EDGE_FRAMES` behind."""
        return self._is_behind or now < self._live_due

    def _skip_pause(self) -> int:
        """Within a pause: leave out all of it but what stays at its end, or at the newest frame."""
        if self._silent_run < BEHIND_WORD_FRAMES:
            return 0
        unread = islice(self._speech, self._cursor - self._start, None)
        ahead = next((n for n, speech in enumerate(unread) if speech), self._end - self._cursor)
        spare = spare_frames(self._silent_run, ahead)
        self._cursor += spare
        return spare

    def _forget_oldest(self) -> Literal["overflow", "pause"] | None:
        speech, unread = self._speech[0], self._cursor == self._start
        self._pop()
        if not unread:
            self._lost_if_rewound += speech
            return None
        self._cursor += 1
        self._dropped += speech
        return "overflow" if speech else "pause"

    def _pop(self) -> None:
        self._frames.popleft()
        del self._speech[0]
        self._start += 1
