"""The playout queue of one call: it says which frame goes to the caller, when, and how much of it was heard.

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
|          | up to `lead_ms` before it is due, or |                                                   |                |
|          | up to 105 ms sooner to save messages |                                                   |                |
|          | and wake-ups                         |                                                   |                |
| paused   | any of these, but nothing is sent    | `resume()`                                        | barge-in's own |

Running dry in the middle of speech is a hole; its length is known when speech goes on. A backlog is taken back in
pauses of the words, by the rule of `relay.logic.pause_rule`: more than `TRIM_SLACK_MS` over the target, or any once
`catch_up` is called, or once a frame that was here was sent so late that all behind it are late, by a stall of ours or
by a `pause` that lasted longer than what the caller had to play. The target is the configured one until the first hole
or backlog, then it follows the jitter (see `relay.logic.playback.jitter`). Without any of this, what comes is what is
sent, byte for byte.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from msgspec import Struct

from relay.logic.pause_rule import BEHIND_WORD_FRAMES, spare_frames
from relay.logic.playback.frame import PlayFrame
from relay.logic.playback.heard import HeardPosition
from relay.logic.playback.jitter import JitterTarget
from relay.media.frames import FRAME_MS

HOLE_MAX_S = 1.0
"""A longer silence is the end of what was said, not a hole in it."""
TRIM_SLACK_MS = 300
"""Less over the target is no backlog: it comes and goes with the jitter."""
EARLY_MS = 105
"""With many calls a frame is sent up to so much sooner than `lead_ms` before it is due."""
LATE_S = FRAME_MS / 1000
"""A frame sent so late is still on schedule; it must not move all that follow."""

SOUNDING_FRAMES = 5
"""100 ms: of less the level jumps with every sound of a word."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Everything that an interruption took from the caller.

    `unheard` are the frames that were not heard, in order, the first one perhaps heard in part. `before` are the frames
    of the same turn that were heard last, as many as are kept.
    """

    unheard: tuple[PlayFrame, ...]
    before: tuple[PlayFrame, ...] = ()


class Taken(Struct, frozen=True, gc=False):
    """A frame to send now, since when it could have been sent, and how many frames of a pause were left out before it.

    `since` is later than now for a frame that is sent early. `hole_ms` is how long the caller heard nothing in the
    middle of the assistant's words, if this frame ends such a hole: the frame had not arrived when it was due, or was
    sent too late.
    """

    frame: PlayFrame
    since: float
    trimmed: int = 0
    hole_ms: float | None = None


@dataclass(slots=True)
class PlaySchedule:
    """The times at which frames are due, 20 ms apart, whenever each was really sent; none of them drifts."""

    lead_s: float
    """How long before it is due a frame may be sent."""
    start_at: float = 0.0
    """When the first frame of the next run is due."""
    due_at: float | None = None
    """When the next frame of this run is due; None between two runs."""
    dry_since: float | None = None
    """When the last run would have gone on, had there been a frame."""

    @property
    def send_at(self) -> float:
        return self.start_at if self.due_at is None else self.due_at - self.lead_s

    def start(self, at: float) -> None:
        """The next frame begins a run, and nothing was due before."""
        self.start_at, self.due_at, self.dry_since = at, None, None

    def run_dry(self, start_at: float) -> None:
        """There was no frame when one was due: the next begins a run."""
        self.start_at, self.dry_since, self.due_at = start_at, self.due_at, None

    def is_behind(self, now: float) -> bool:
        """Whether a frame that is sent now cannot keep to this run."""
        return self.due_at is None or self.due_at + LATE_S < now

    def restart(self, now: float) -> float | None:
        """The run begins now. Returns since when a frame was due; None if none was."""
        since = self.dry_since if self.due_at is None else self.due_at
        self.due_at, self.dry_since = now, None
        return since


class Playout:
    """Bounded queue, absolute schedule, heard position. A plain object without clock or task.

    `before_ms`: how much of what was heard last a cut gives back.
    """

    def __init__(self, *, target_ms: float, lead_ms: float, max_ms: float, before_ms: float = 0.0) -> None:
        self._target = JitterTarget(target_ms)
        self._max_frames = int(max_ms / FRAME_MS)
        self._queue: deque[PlayFrame] = deque()
        self._schedule = PlaySchedule(lead_ms / 1000)
        self._before_frames = int(before_ms / FRAME_MS)
        ahead_frames = math.ceil((lead_ms + EARLY_MS) / FRAME_MS) + 2
        self._heard = HeardPosition(self._before_frames + ahead_frames if self._before_frames else 0)
        self._attached = False
        self._paused = False
        self._trimming = False
        self._refilling = False
        self._outage = False
        self._trimmed = 0
        self._silent_run = BEHIND_WORD_FRAMES

    def attach(self, now: float) -> None:
        """The caller can hear from now on."""
        self._attached = True
        full = self.queued_ms >= self._target.target_ms
        self._schedule.start(now if full else now + self._target_s)

    def detach(self, now: float) -> float:
        """The caller's socket is gone, with what it still had to play; until `attach` nothing is given.

        What no mark has confirmed is played again, before all else; returns how many ms that is.
        """
        again = self._heard.take_back(now)
        self._queue.extendleft(again)
        self._attached = False
        self._schedule.start(self._schedule.start_at)
        self._refilling = False
        return len(again) * FRAME_MS

    def outage(self) -> None:
        """The assistant's socket is lost: a hole that follows is due to that, and says nothing about jitter."""
        self._outage = True
        self._target.cut()

    def catch_up(self) -> None:
        """Take back in the next pause all that waits beyond the target, however little it is."""
        self._trimming = True

    def add(self, frame: PlayFrame, now: float) -> Literal["overflow", "trimmed"] | None:
        """Queue a frame behind all others; returns why it was dropped, if it was.

        "overflow": the queue is full. "trimmed": nobody waits for silence, so digital silence before the first sound
        and before the caller can hear is left out.
        """
        self._target.arrived(frame.arrived_at or now, audible=frame.audible)
        if not (self._attached or self._queue or frame.audible) and len(set(frame.data)) == 1:
            return "trimmed"
        if len(self._queue) >= self._max_frames:
            return "overflow"
        if not self._queue:
            self._begin_filling(now)
        self._queue.append(frame)
        if self._refilling and self.queued_ms >= self._target.target_ms:
            self._schedule.start_at = now
            self._refilling = False
        return None

    def put_back(self, frames: Sequence[PlayFrame], now: float) -> None:
        """Play these before all else, from now on without filling first: they were cut by mistake."""
        if frames:
            self._queue.extendleft(reversed(frames))
            self._schedule.start_at = now

    def pause(self) -> None:
        """Give no frame until `resume`; what was sent already plays on."""
        self._paused = True

    def resume(self, now: float) -> None:
        """Go on with the next frame: on the old schedule while the caller still has some to play, else at once, and
        catch up in the next pause of the words."""
        self._paused = False
        due_at = self._schedule.due_at
        if due_at is not None and due_at < now:
            self.catch_up()
        if due_at is None or due_at < now:
            self._schedule.start(now)

    def next_send_at(self) -> float | None:
        """When `take` will give a frame; None while there is nothing to send."""
        if not self._queue or not self._attached or self._paused:
            return None
        return self._schedule.send_at

    def take(self, now: float, *, ahead_s: float = 0.0) -> Taken | None:
        """The next frame, if it may be sent now, or within `ahead_s` as playback goes on."""
        at = self.next_send_at()
        if at is None or now < (at if self._schedule.due_at is None else at - ahead_s):
            return None
        hole_ms = None
        if self._schedule.is_behind(now):
            if self._schedule.due_at is not None:
                self.catch_up()
            hole_ms = self._restart(now)
        self._trimmed += self._trim()
        return self._take_first(at, hole_ms)

    def take_along(self, frame: PlayFrame) -> Taken | None:
        """The next frame, if it goes on with the turn of this one, which was taken just now: both may share a message.

        It is sent sooner than `take` would give it by the time that this one takes to play.
        """
        at = self.next_send_at()
        if at is None:
            return None
        self._trimmed += self._trim()
        return self._take_first(at, None) if self._queue[0].turn == frame.turn else None

    def mark_heard(self, position_ms: float, now: float) -> None:
        """The caller's side says that everything up to this position was played.

        It cannot have played more than was sent, nor take back what a mark or a cut has settled before.
        """
        self._heard.mark(position_ms, now)

    def audible(self, now: float) -> bool:
        """Whether the caller hears the assistant, or is about to, from what is here or on its way."""
        flying = self._heard.after(self._heard.at(now))
        return any(frame.audible for frame in self._queue) or any(frame.audible for frame in flying)

    def left_ms(self, now: float) -> float:
        """What is left to hear, by the clock, of all that is here or on its way to the caller."""
        return self._heard.sent_ms - self._heard.at(now) + self.queued_ms

    def heard_ms(self, turn: int, now: float) -> float:
        """How much of this turn was heard, if it is the newest of which anything was sent; else 0."""
        return self._heard.of_turn(turn, now)

    @property
    def lingers(self) -> bool:
        """Whether, by its marks, the caller's side may still hold something audible, however long ago it was sent."""
        return any(frame.audible for frame in self._heard.unmarked())

    def sounding(self, now: float) -> list[PlayFrame]:
        """The frames that the caller hears now, by the clock: at most `SOUNDING_FRAMES` of those on their way."""
        return [*self._heard.after(self._heard.at(now))][-SOUNDING_FRAMES:][::-1]

    def unheard(self, now: float) -> int:
        """How many audible frames are here, or on their way to the caller."""
        flying = self._heard.after(self._heard.at(now))
        return sum(frame.audible for frame in self._queue) + sum(frame.audible for frame in flying)

    def cut(self, now: float) -> Cut:
        """Take everything that the caller has not heard. A pause goes on."""
        unheard = [*self._heard.after(self._heard.at(now))][::-1]
        unheard.extend(self._queue)
        before = self._heard.just_heard(self._before_frames, unheard[0].turn, now) if unheard else ()
        self._queue.clear()
        self._schedule.start(self._schedule.start_at)
        self._trimming = self._refilling = False
        self._heard.settle(now)
        self._target.cut()
        return Cut(tuple(unheard), tuple(before))

    @property
    def goes_on_at(self) -> float | None:
        """When the next frame may be sent, whether it is here yet or not; None in all states but playing."""
        is_playing = self._attached and not self._paused and self._schedule.due_at is not None
        return self._schedule.send_at if is_playing else None

    @property
    def was_outlasted(self) -> bool:
        """Whether nothing is due any more, though no mark says that all was heard: a pause lasted longer than what the
        caller had to play."""
        is_between_runs = self._attached and not self._paused and self._schedule.due_at is None
        return is_between_runs and next(self._heard.unmarked(), None) is not None

    @property
    def queued_ms(self) -> int:
        return len(self._queue) * FRAME_MS

    @property
    def target_ms(self) -> float:
        """How much is to wait here and ahead of time with the caller's side, as jitter and configuration want it."""
        return self._target.target_ms

    @property
    def sent_ms(self) -> float:
        """Position behind the last frame sent: what a mark sent now stands for."""
        return self._heard.sent_ms

    @property
    def _target_s(self) -> float:
        return self._target.target_ms / 1000

    @property
    def _level_ms(self) -> float:
        """What waits here when all is well: the rest of the target is with the caller's side, ahead of time."""
        return max(0.0, self._target.target_ms - self._schedule.lead_s * 1000)

    def _begin_filling(self, now: float) -> None:
        due_at = self._schedule.due_at
        if due_at is None:
            self._schedule.start_at = max(self._schedule.start_at, now + self._target_s)
        elif now > due_at:
            self._refilling = self._breaks_speech(due_at, now)
            if self._refilling and not self._outage:
                self._target.underrun()
            self._schedule.run_dry(now + self._target_s)

    def _take_first(self, at: float, hole_ms: float | None) -> Taken:
        frame = self._queue.popleft()
        assert self._schedule.due_at is not None
        self._schedule.due_at += FRAME_MS / 1000
        self._silent_run = 0 if frame.audible else self._silent_run + 1
        self._heard.sent(frame)
        trimmed, self._trimmed = self._trimmed, 0
        return Taken(frame, max(at, frame.arrived_at), trimmed, hole_ms)

    def _restart(self, now: float) -> float | None:
        """Begin a run; returns the length of the hole that it ends, ms, if it ends one."""
        due_since = self._schedule.restart(now)
        self._heard.restart(now)
        self._outage = self._refilling = False
        return (now - due_since) * 1000 if due_since is not None and self._breaks_speech(due_since, now) else None

    def _breaks_speech(self, since: float, now: float) -> bool:
        return self._silent_run == 0 and now - since <= HOLE_MAX_S

    def _trim(self) -> int:
        """Take a backlog back where a pause goes on; returns how many frames of it are left out."""
        if self.queued_ms > self._target.target_ms + TRIM_SLACK_MS:
            self._target.backlog()
            self._trimming = True
        if self._silent_run < BEHIND_WORD_FRAMES:
            return 0
        if self.queued_ms <= self._level_ms:
            self._trimming = False
        if self._target.pause():
            self._trimming = True
        return self._shorten_pause(math.ceil(self._level_ms / FRAME_MS)) if self._trimming else 0

    def _shorten_pause(self, level_frames: int) -> int:
        ahead = next((i for i, frame in enumerate(self._queue) if frame.audible), len(self._queue))
        spare = max(0, min(spare_frames(self._silent_run, ahead), len(self._queue) - level_frames))
        for _ in range(spare):
            self._queue.popleft()
        return spare
