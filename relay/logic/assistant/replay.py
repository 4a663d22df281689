"""The caller's audio on its way to the assistant: a log with a cursor.

The forwarder reads at its cursor and waits when it has read everything. Until a connection stands the log keeps what
the caller says; then the same code sends what is old and what is new. A new assistant call knows only the sentences
that were finished, so after a loss the cursor goes back to the end of the last one.

| state     | meaning                                                       | leaves when                           |
|-----------|---------------------------------------------------------------|---------------------------------------|
| fresh     | no connection has read anything; the backlog goes out at once | a frame is read -> live               |
| live      | what is there goes out at once                                | `rewind()` -> replaying               |
| replaying | one frame every 20 ms / `rate`; pauses of 300 ms or more are  | at most `EDGE_FRAMES` unread -> live; |
|           | shortened, `KEEP_FRAMES` (160 ms) of them stay on each side   | `rewind()` -> replaying, from the     |
|           |                                                               | first frame again                     |
"""

from collections import deque
from dataclasses import dataclass
from itertools import islice
from math import inf

from relay.media.frames import FRAME_MS

KEEP_FRAMES = 8
EDGE_FRAMES = KEEP_FRAMES
"""So close to the newest frame the reader has caught up: what is left is no more than a chunk that comes late."""
LATE_S = 1.0
"""A reader that comes later than this does not make up for it: the assistant's ears want real time. One that a busy
machine holds up now and then does, or it would never catch up with a caller who talks on."""


@dataclass(frozen=True, slots=True)
class ReplayStatistics:
    """`dropped_ms` of speech never reached the assistant, or could not be sent again when it had to be.

    What was sent is what was appended, less what is unread, dropped or skipped, and `again_ms`: what was sent and had
    to be sent again.
    """

    kept_ms: int
    unread_ms: int
    dropped_ms: int
    replayed_ms: int = 0
    skipped_silence_ms: int = 0
    again_ms: int = 0


class ReplayLog:
    """20 ms frames, numbered from 0 for the whole call, at most `max_ms` of them; the oldest go first.

    It begins with the first frame that belongs to no finished sentence, or with the oldest that there was room for.
    Times are monotonic seconds. `rate` is the speed of a replay: 1 is real time.
    """

    def __init__(self, max_ms: float, rate: float = 1.0) -> None:
        self._max_frames = max(1, int(max_ms / FRAME_MS))
        self._period_s = FRAME_MS / 1000 / rate
        self._frames: deque[bytes] = deque()
        self._speech: deque[bool] = deque()
        self._start = self._cursor = self._end = 0
        self._fresh = True
        self._replaying = False
        self._due = -inf
        self._silent_run = 0
        self._lost_if_rewound = 0
        self._dropped = self._replayed = self._skipped = self._again = 0

    @property
    def cursor(self) -> int:
        """The number of the next frame to read: all before it was sent."""
        return self._cursor

    @property
    def end(self) -> int:
        """The number that the next frame appended will have."""
        return self._end

    @property
    def replaying(self) -> bool:
        """Whether the reader is still behind, because of a connection that was lost."""
        return self._replaying

    def append(self, frame: bytes, *, speech: bool = True) -> None:
        """The newest frame. Only what is said not to be `speech` may be left out of a replay."""
        if len(self._frames) == self._max_frames:
            self._forget_oldest()
        self._frames.append(frame)
        self._speech.append(speech)
        self._end += 1

    def mark_speech(self, from_frame: int) -> None:
        """The detector has found out that speech began with this frame: none since then is a pause."""
        for index in range(max(0, from_frame - self._start), len(self._speech)):
            self._speech[index] = True

    def mark_pause(self, from_frame: int, upto_frame: int) -> None:
        """The detector has heard nothing in these, which were taken for speech because it had not judged them yet."""
        for index in range(max(0, from_frame - self._start), min(upto_frame - self._start, len(self._speech))):
            self._speech[index] = False

    def finish_sentence(self, upto_frame: int) -> None:
        """Everything before this frame was understood and need never be sent again. What was not sent stays."""
        upto = min(upto_frame, self._cursor)
        self._lost_if_rewound = min(self._lost_if_rewound, max(0, self._start - upto))
        while self._start < upto:
            self._pop()

    def rewind(self) -> int:
        """The connection is lost: read again from the first unfinished frame. Returns how many there are to read."""
        self._dropped += self._lost_if_rewound
        self._again += self._cursor - self._start + self._lost_if_rewound
        self._lost_if_rewound = 0
        self._cursor = self._start
        self._replaying = not self._fresh
        self._due = -inf
        self._silent_run = 0
        return self._end - self._cursor

    def next_at(self, now: float) -> float | None:
        """When `read` will give a frame; None when all were read."""
        if self._cursor == self._end:
            return None
        return max(now, self._due) if self._replaying else now

    def read(self, now: float = inf) -> bytes | None:
        """The next frame that may be sent now; None when there is none, or a replay has to wait (see `next_at`)."""
        if self._replaying:
            self._skip_pause()
            self._replaying = self._end - self._cursor > EDGE_FRAMES
        if self._cursor == self._end or (self._replaying and now < self._due):
            return None
        self._fresh = False
        index = self._cursor - self._end
        self._cursor += 1
        if self._replaying:
            self._note_replayed(speech=self._speech[index], now=now)
        return self._frames[index]

    def statistics(self) -> ReplayStatistics:
        return ReplayStatistics(
            len(self._frames) * FRAME_MS,
            (self._end - self._cursor) * FRAME_MS,
            self._dropped * FRAME_MS,
            self._replayed * FRAME_MS,
            self._skipped * FRAME_MS,
            self._again * FRAME_MS,
        )

    def _note_replayed(self, *, speech: bool, now: float) -> None:
        self._replayed += 1
        self._silent_run = 0 if speech else self._silent_run + 1
        self._due = (now if now > self._due + LATE_S else self._due) + self._period_s

    def _skip_pause(self) -> None:
        """Within a pause: leave out all of it but what stays at its end, or at the newest frame."""
        if self._silent_run < KEEP_FRAMES:
            return
        unread = islice(self._speech, self._cursor - self._start, None)
        pause = next((n for n, speech in enumerate(unread) if speech), self._end - self._cursor)
        skipped = max(0, pause - KEEP_FRAMES)
        self._cursor += skipped
        self._skipped += skipped

    def _forget_oldest(self) -> None:
        speech = self._speech[0]
        if self._cursor == self._start:
            self._cursor += 1
            self._dropped += speech
            self._skipped += not speech
        else:
            self._lost_if_rewound += speech
        self._pop()

    def _pop(self) -> None:
        self._frames.popleft()
        self._speech.popleft()
        self._start += 1
