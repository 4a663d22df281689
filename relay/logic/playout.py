"""The playout queue of one call: which frame goes to the caller, when, and how much of it was heard.

Frames are 20 ms in the caller's format. Times are seconds on one monotonic clock; positions are milliseconds of all
that was sent to the caller. The caller's side plays what it gets in order and in real time, and echoes a mark when all
audio before it was played (Twilio Media Streams, messages "mark" and "clear").

| state    | meaning                              | leaves when                                       | deadline       |
|----------|--------------------------------------|---------------------------------------------------|----------------|
| detached | the caller cannot hear yet           | `attach()` -> filling                             | the call's own |
| empty    | nothing to play                      | a frame is added -> filling                       | nothing owed   |
| filling  | the buffer fills before playback     | `target_ms` after its first frame -> playing      | `target_ms`    |
| playing  | a frame is due every 20 ms, and sent | no frame when one is due -> empty                 | 20 ms a frame  |
|          | up to `lead_ms` before it is due     |                                                   |                |
| paused   | any of these, but nothing is sent    | `resume()`, `cut()`                               | barge-in's own |

Running dry in the middle of speech is a hole; its length is known, and counted, when speech goes on. A backlog (more
than `TRIM_SLACK_MS` over the target) is taken back in pauses: those of 300 ms or more are shortened, 150 ms stay on
each side.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from relay.media.frames import FRAME_MS

HOLE_MAX_S = 1.0
"""A longer silence is the end of what was said, not a hole in it."""
TRIM_SLACK_MS = 300
TRIM_KEEP_FRAMES = 8
_UNCONFIRMED_KEEP_MS = 2000
_UNCONFIRMED_MAX_FRAMES = 3000
"""One minute: a caller's side whose marks lag by more does not play what we send."""
LATE_S = FRAME_MS / 1000
"""A frame sent so late is still on schedule; it must not move all that follow."""


@dataclass(frozen=True, slots=True)
class PlayFrame:
    """20 ms for the caller.

    `turn` is the assistant's turn that it belongs to, `audible` whether anything is in it, `arrived_at` when it came.
    """

    turn: int
    data: bytes
    audible: bool
    arrived_at: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Cut:
    """What an interruption took from the caller: `unheard` are, in order, the frames that were not heard."""

    heard_ms: float
    flushed_ms: float
    unheard: tuple[PlayFrame, ...]


@dataclass(frozen=True, slots=True)
class PlayoutStatistics:
    queued_ms: int
    sent_frames: int
    trimmed_frames: int
    overflow_frames: int
    holes: int
    hole_ms: float


class Playout:
    """Bounded queue, absolute schedule, heard position. A plain object without clock or task."""

    def __init__(self, *, target_ms: float, lead_ms: float, max_ms: float) -> None:
        self._target_s = target_ms / 1000
        self._lead_s = lead_ms / 1000
        self._max_frames = int(max_ms / FRAME_MS)
        self._target_frames = int(target_ms / FRAME_MS)
        self._trim_above = int((target_ms + TRIM_SLACK_MS) / FRAME_MS)
        self._queue: deque[PlayFrame] = deque()
        self._attached = False
        self._paused = False
        self._trimming = False
        self._start_at = 0.0
        self._next_due: float | None = None
        self._dry_since: float | None = None
        self._silent_run = TRIM_KEEP_FRAMES
        self._sent_ms = 0.0
        self._heard_ms = 0.0
        self._heard_at = 0.0
        self._known_ms = 0.0
        self._turn, self._turn_began_ms = 0, 0.0
        self._unconfirmed: deque[tuple[float, PlayFrame]] = deque(maxlen=_UNCONFIRMED_MAX_FRAMES)
        self._sent_frames = self._trimmed = self._overflow = self._holes = 0
        self._hole_ms = 0.0

    def attach(self, now: float) -> None:
        """The caller can hear from now on."""
        self._attached = True
        self._next_due = None
        self._start_at = now if len(self._queue) >= self._target_frames else now + self._target_s

    def add(self, frame: PlayFrame, now: float) -> bool:
        """Queue a frame behind all others. False: the queue is full; the frame was dropped and counted.

        Nobody waits for silence: what comes before the first word and before the caller can hear is trimmed.
        """
        if not (self._attached or self._queue or frame.audible):
            self._trimmed += 1
            return True
        if len(self._queue) >= self._max_frames:
            self._overflow += 1
            return False
        if not self._queue:
            self._begin_filling(now)
        self._queue.append(frame)
        return True

    def put_back(self, frames: Sequence[PlayFrame], now: float) -> None:
        """Play these before all else, from now on without filling first: they were cut by mistake."""
        if frames:
            self._queue.extendleft(reversed(frames))
            self._start_at = now

    def pause(self) -> None:
        """Give no frame until `resume`; what was sent already plays on."""
        self._paused = True

    def resume(self, now: float) -> None:
        """Go on with the next frame: on the old schedule while the caller still has some to play, else at once."""
        self._paused = False
        self._dry_since = None
        if self._next_due is None or self._next_due < now:
            self._next_due = None
            self._start_at = now

    def next_send_at(self) -> float | None:
        """When `take` will give a frame; None while there is nothing to send."""
        if not self._queue or not self._attached or self._paused:
            return None
        return self._start_at if self._next_due is None else self._next_due - self._lead_s

    def take(self, now: float) -> PlayFrame | None:
        """The next frame, if it may be sent now."""
        at = self.next_send_at()
        if at is None or now < at:
            return None
        if self._next_due is None or self._next_due + LATE_S < now:
            self._restart_schedule(now)
        self._trim()
        frame = self._queue.popleft()
        self._note_sent(frame, now)
        return frame

    def mark_heard(self, position_ms: float, now: float) -> None:
        """The caller's side says that everything up to this position was played.

        It cannot have played more than was sent, nor take back what a mark or a cut has settled before.
        """
        if position_ms >= self._known_ms:
            self._known_ms = self._heard_ms = min(position_ms, self._sent_ms)
            self._heard_at = now
            self._forget_heard(self._heard_ms)

    def heard_ms(self, now: float) -> float:
        """Position that the caller has heard: the last mark plus the time since, at most what was sent."""
        return min(self._sent_ms, self._heard_ms + (now - self._heard_at) * 1000)

    def audible(self, now: float) -> bool:
        """Whether the caller hears the assistant, or is about to, from what is here or on its way."""
        heard = self.heard_ms(now)
        return any(frame.audible for frame in self._queue) or any(
            frame.audible for end_ms, frame in self._unconfirmed if end_ms > heard
        )

    def cut(self, turn: int, now: float) -> Cut:
        """Take everything that the caller has not heard.

        `turn` is the assistant's newest, of which the heard time is wanted: 0 while an older one plays.
        """
        heard = self.heard_ms(now)
        unheard = [frame for end_ms, frame in self._unconfirmed if end_ms > heard]
        flushed_ms = self._sent_ms - heard + len(self._queue) * FRAME_MS
        unheard.extend(self._queue)
        self._queue.clear()
        self._unconfirmed.clear()
        self._next_due = self._dry_since = None
        self._trimming = self._paused = False
        self._known_ms = self._heard_ms = self._sent_ms
        self._heard_at = now
        heard_ms = max(0.0, heard - self._turn_began_ms) if turn == self._turn else 0.0
        return Cut(heard_ms, flushed_ms, tuple(unheard))

    @property
    def queued_ms(self) -> int:
        return len(self._queue) * FRAME_MS

    @property
    def sent_ms(self) -> float:
        """Position behind the last frame sent: what a mark sent now stands for."""
        return self._sent_ms

    def statistics(self) -> PlayoutStatistics:
        return PlayoutStatistics(
            self.queued_ms, self._sent_frames, self._trimmed, self._overflow, self._holes, self._hole_ms
        )

    def _begin_filling(self, now: float) -> None:
        if self._next_due is None:
            self._start_at = max(self._start_at, now + self._target_s)
        elif now > self._next_due:
            self._dry_since = self._next_due
            self._next_due = None
            self._start_at = now + self._target_s

    def _restart_schedule(self, now: float) -> None:
        since = self._dry_since if self._next_due is None else self._next_due
        if since is not None and self._silent_run == 0 and now - since <= HOLE_MAX_S:
            self._holes += 1
            self._hole_ms += (now - since) * 1000
        self._dry_since = None
        self._next_due = now
        self._heard_ms, self._heard_at = self._sent_ms, now

    def _note_sent(self, frame: PlayFrame, now: float) -> None:
        if frame.audible and frame.turn != self._turn:
            self._turn, self._turn_began_ms = frame.turn, self._sent_ms
        assert self._next_due is not None
        self._next_due += FRAME_MS / 1000
        self._sent_ms += FRAME_MS
        self._sent_frames += 1
        self._silent_run = 0 if frame.audible else self._silent_run + 1
        self._unconfirmed.append((self._sent_ms, frame))
        self._forget_heard(self.heard_ms(now) - _UNCONFIRMED_KEEP_MS)

    def _forget_heard(self, position_ms: float) -> None:
        while self._unconfirmed and self._unconfirmed[0][0] <= position_ms:
            self._unconfirmed.popleft()

    def _trim(self) -> None:
        if len(self._queue) > self._trim_above:
            self._trimming = True
        elif len(self._queue) <= self._target_frames:
            self._trimming = False
        if not self._trimming or self._silent_run < TRIM_KEEP_FRAMES:
            return
        run = next((i for i, frame in enumerate(self._queue) if frame.audible), len(self._queue))
        for _ in range(min(run - TRIM_KEEP_FRAMES, len(self._queue) - self._target_frames)):
            self._queue.popleft()
            self._trimmed += 1
