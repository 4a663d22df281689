"""The playout queue of one call: which frame goes to the caller, when, and how much of it was heard.

Frames are 20 ms in the caller's format. Times are seconds on one monotonic clock; positions are milliseconds of all
that was sent to the caller. The caller's side plays what it gets in order and in real time, and echoes a mark when all
audio before it was played (Twilio Media Streams, messages "mark" and "clear").

| state    | meaning                              | leaves when                                       | deadline       |
|----------|--------------------------------------|---------------------------------------------------|----------------|
| detached | the caller cannot hear yet, or no    | `attach()` -> filling                             | the call's own |
|          | more                                 |                                                   |                |
| empty    | nothing to play                      | a frame is added -> filling                       | nothing owed   |
| filling  | the buffer fills before playback     | `target_ms` after its first frame -> playing; in  | `target_ms`    |
|          |                                      | a hole, as soon as it is full                     |                |
| playing  | a frame is due every 20 ms, and sent | no frame when one is due -> empty                 | 20 ms a frame  |
|          | up to `lead_ms` before it is due     |                                                   |                |
| paused   | any of these, but nothing is sent    | `resume()`, `cut()`                               | barge-in's own |

Running dry in the middle of speech is a hole; its length is known, and counted, when speech goes on. A backlog (more
than `TRIM_SLACK_MS` over the target, or any once `catch_up` is called) is taken back in pauses: those of 300 ms or more
are shortened, 150 ms stay on each side. The target is the configured one until the first hole or backlog, then it
follows the jitter (see `relay.logic.playback.jitter`). Without either, what comes is what is sent, byte for byte.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from relay.logic.playback.heard import HeardPosition
from relay.logic.playback.jitter import JitterTarget
from relay.media.frames import FRAME_MS

HOLE_MAX_S = 1.0
"""A longer silence is the end of what was said, not a hole in it."""
TRIM_SLACK_MS = 300
TRIM_KEEP_FRAMES = 8
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


class HoleCause(StrEnum):
    """Why the caller heard nothing in the middle of speech."""

    UNDERRUN = "underrun"
    """What comes next had not arrived."""
    STALL = "stall"
    """It was here; we were too late."""
    RECONNECT = "reconnect"
    """The assistant was not connected."""


@dataclass(frozen=True, slots=True)
class PlayoutStatistics:
    """`causes` says how many ms of the holes are due to each cause."""

    queued_ms: int
    sent_frames: int
    trimmed_frames: int
    overflow_frames: int
    holes: int
    hole_ms: float
    causes: dict[HoleCause, float] = field(default_factory=dict)
    target_ms: float = 0.0
    jitter_ms: float = 0.0


class Playout:
    """Bounded queue, absolute schedule, heard position. A plain object without clock or task."""

    def __init__(self, *, target_ms: float, lead_ms: float, max_ms: float) -> None:
        self._target = JitterTarget(target_ms)
        self._lead_s = lead_ms / 1000
        self._max_frames = int(max_ms / FRAME_MS)
        self._queue: deque[PlayFrame] = deque()
        self._attached = False
        self._paused = False
        self._trimming = False
        self._refilling = False
        self._start_at = 0.0
        self._next_due: float | None = None
        self._dry_since: float | None = None
        self._silent_run = TRIM_KEEP_FRAMES
        self._heard: HeardPosition[PlayFrame] = HeardPosition()
        self._turn, self._turn_began_ms = 0, 0.0
        self._sent_frames = self._trimmed = self._overflow = self._holes = 0
        self._outage = False
        self._hole_ms = dict.fromkeys(HoleCause, 0.0)

    def attach(self, now: float) -> None:
        """The caller can hear from now on."""
        self._attached = True
        self._next_due = None
        self._start_at = now if self.queued_ms >= self._target.target_ms else now + self._target_s

    def detach(self, now: float) -> float:
        """The caller's socket is gone, with what it still had to play; until `attach` nothing is given.

        What no mark has confirmed is played again, before all else; returns how many ms that is.
        """
        confirmed_ms = self._heard.confirmed(now)
        again = [*self._heard.after(confirmed_ms)]
        self._queue.extendleft(again)
        if again and again[-1].turn == self._turn:
            self._turn_began_ms += len(again) * FRAME_MS
        self._heard.settle(now)
        self._attached = False
        self._next_due = self._dry_since = None
        self._refilling = False
        return len(again) * FRAME_MS

    def outage(self) -> None:
        """The assistant's socket is lost: the next hole is due to that."""
        self._outage = True
        self._target.cut()

    def catch_up(self) -> None:
        """Take back in the next pause all that waits beyond the target, however little it is."""
        self._trimming = True

    def add(self, frame: PlayFrame, now: float) -> bool:
        """Queue a frame behind all others. False: the queue is full; the frame was dropped and counted.

        Nobody waits for silence: digital silence before the first sound and before the caller can hear is trimmed.
        """
        self._target.arrived(frame.arrived_at or now, audible=frame.audible)
        if not (self._attached or self._queue or frame.audible) and len(set(frame.data)) == 1:
            self._trimmed += 1
            return True
        if len(self._queue) >= self._max_frames:
            self._overflow += 1
            return False
        if not self._queue:
            self._begin_filling(now)
        self._queue.append(frame)
        if self._refilling and self.queued_ms >= self._target.target_ms:
            self._start_at = now
            self._refilling = False
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
        self._note_sent(frame)
        return frame

    def mark_heard(self, position_ms: float, now: float) -> None:
        """The caller's side says that everything up to this position was played.

        It cannot have played more than was sent, nor take back what a mark or a cut has settled before.
        """
        self._heard.mark(position_ms, now)

    def heard_ms(self, now: float) -> float:
        """Position that the caller has heard: the last mark plus the time since, at most what was sent."""
        return self._heard.at(now)

    def audible(self, now: float) -> bool:
        """Whether the caller hears the assistant, or is about to, from what is here or on its way."""
        flying = self._heard.after(self._heard.at(now))
        return any(frame.audible for frame in self._queue) or any(frame.audible for frame in flying)

    @property
    def lingers(self) -> bool:
        """Whether, by its marks, the caller's side may still hold something audible, however long ago it was sent."""
        return any(frame.audible for frame in self._heard.unmarked())

    def unheard(self, now: float) -> int:
        """How many audible frames are here, or on their way to the caller."""
        flying = self._heard.after(self._heard.at(now))
        return sum(frame.audible for frame in self._queue) + sum(frame.audible for frame in flying)

    def cut(self, turn: int, now: float) -> Cut:
        """Take everything that the caller has not heard.

        `turn` is the assistant's newest, of which the heard time is wanted: 0 while an older one plays.
        """
        heard = self._heard.at(now)
        unheard = [*self._heard.after(heard)][::-1]
        flushed_ms = self._heard.sent_ms - heard + len(self._queue) * FRAME_MS
        unheard.extend(self._queue)
        self._queue.clear()
        self._next_due = self._dry_since = None
        self._trimming = self._refilling = self._paused = False
        self._heard.settle(now)
        self._target.cut()
        heard_ms = max(0.0, heard - self._turn_began_ms) if turn == self._turn else 0.0
        return Cut(heard_ms, flushed_ms, tuple(unheard))

    @property
    def queued_ms(self) -> int:
        return len(self._queue) * FRAME_MS

    @property
    def sent_ms(self) -> float:
        """Position behind the last frame sent: what a mark sent now stands for."""
        return self._heard.sent_ms

    def statistics(self) -> PlayoutStatistics:
        return PlayoutStatistics(
            self.queued_ms,
            self._sent_frames,
            self._trimmed,
            self._overflow,
            self._holes,
            sum(self._hole_ms.values()),
            self._hole_ms.copy(),
            self._target.target_ms,
            self._target.jitter_ms,
        )

    @property
    def _target_s(self) -> float:
        return self._target.target_ms / 1000

    @property
    def _level_ms(self) -> float:
        """What waits here when all is well: the rest of the target is with the caller's side, ahead of time."""
        return max(0.0, self._target.target_ms - self._lead_s * 1000)

    def _begin_filling(self, now: float) -> None:
        if self._next_due is None:
            self._start_at = max(self._start_at, now + self._target_s)
        elif now > self._next_due:
            self._refilling = self._breaks_speech(self._next_due, now)
            if self._refilling and not self._outage:
                self._target.underrun()
            self._dry_since = self._next_due
            self._next_due = None
            self._start_at = now + self._target_s

    def _restart_schedule(self, now: float) -> None:
        since = self._dry_since if self._next_due is None else self._next_due
        if since is not None and self._breaks_speech(since, now):
            cause = HoleCause.STALL if self._dry_since is None else HoleCause.UNDERRUN
            self._hole_ms[HoleCause.RECONNECT if self._outage else cause] += (now - since) * 1000
            self._holes += 1
        self._outage = False
        self._dry_since = None
        self._refilling = False
        self._next_due = now
        self._heard.restart(now)

    def _breaks_speech(self, since: float, now: float) -> bool:
        return self._silent_run == 0 and now - since <= HOLE_MAX_S

    def _note_sent(self, frame: PlayFrame) -> None:
        if frame.audible and frame.turn != self._turn:
            self._turn, self._turn_began_ms = frame.turn, self._heard.sent_ms
        assert self._next_due is not None
        self._next_due += FRAME_MS / 1000
        self._sent_frames += 1
        self._silent_run = 0 if frame.audible else self._silent_run + 1
        self._heard.sent(frame)

    def _trim(self) -> None:
        if self.queued_ms > self._target.target_ms + TRIM_SLACK_MS:
            self._target.backlog()
            self._trimming = True
        elif self.queued_ms <= self._level_ms:
            self._trimming = False
        if self._silent_run < TRIM_KEEP_FRAMES:
            return
        if self._target.pause():
            self._trimming = True
        if self._trimming:
            self._shorten_pause(math.ceil(self._level_ms / FRAME_MS))

    def _shorten_pause(self, target_frames: int) -> None:
        run = next((i for i, frame in enumerate(self._queue) if frame.audible), len(self._queue))
        for _ in range(min(run - TRIM_KEEP_FRAMES, len(self._queue) - target_frames)):
            self._queue.popleft()
            self._trimmed += 1
