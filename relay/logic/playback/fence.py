"""The fence: which of the assistant's audio may reach the caller, after an interruption and always.

Every frame gets the number of the assistant's turn it belongs to. An interruption cuts all turns so far; what arrives
later is held, because the assistant goes on sending the old turn until its own detector agrees (it has no cancel
message), and opens only for what is known to be new. Numbers only rise, so a frame is stale exactly if its turn is not
above `cut_through`.

open: audio is admitted.
    `cut(confirmed=False)`, we heard the caller first            -> holding
    `cut(confirmed=True)`, the assistant said so first           -> confirmed
    `clear`: all should be played, but may not be                -> open; what was admitted is stale
holding: we cut, the assistant has not agreed yet; its audio is held.
    the assistant says `user-interrupted`                        -> confirmed; what was held is old
    its new turn has begun (below)                               -> open, from there
    it sounds `old_turn_s` + `MARGIN_S` after the cut            -> open: with the words after a pause of
        `new_turn_pause_s` if there was one, or of `FRESH_PAUSE_S` just now; else, unless it said that it stopped, it
        was a false alarm, and all that was not heard plays again; else with the words after the last pause
    deadline, `false_alarm_s` after the cut: it fell silent      -> open, held audio dropped; but if it had sent more
        than could be played by now, its silence says nothing, and it was a false alarm
confirmed: both agree; the old turn may still run on, and is held.
    its new turn has begun                                       -> open, from there
    it sounds `old_turn_s` + `MARGIN_S` after it agreed          -> open, as above; no old turn lasts so long
    deadline, `false_alarm_s` after it agreed: it fell silent    -> open, held audio dropped

A new turn has begun when the assistant says that it started to speak (with a higher turn index, or after it said that
it stopped or was interrupted), when sound follows a pause of `SURE_PAUSE_S` in its audio, or one of
`new_turn_pause_s` after it said that it stopped. The latter pause alone is not enough to open at once, as sentences
may have it, but at the deadline what follows it is taken for the new turn: nothing of that is lost, it is only late.
A cut while the fence is closed changes nothing: no caller can keep it closed by speaking again and again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf

from relay.logic.playback.frame import PlayFrame
from relay.logic.playback.held import Held
from relay.media.frames import FRAME_MS

FRAME_S = FRAME_MS / 1000
JITTER_S = 0.12
"""A chunk that is late by less is late, and no pause."""
MARGIN_S = 0.2
"""What network, framing and a busy machine may add to the time that an old turn runs on."""
FRESH_PAUSE_S = 0.25
"""Sound after so much silence, when an old turn has had its time, is a new turn and not the old one going on."""
SURE_PAUSE_S = 0.9
"""No sentence has such a pause; an interrupted assistant keeps quiet for longer (Vapi's backoffSeconds, 1 s)."""
LATE_ANNOUNCEMENT_S = 0.5
"""An announcement so soon after a cut may still be that of the turn which was cut."""
STOP_TAIL_FRAMES = 10
"""The tail of a turn that may follow the message that it stopped; more sound than that is another turn."""
AHEAD_S = 0.5
"""An assistant that has sent so much more than could be played by now sends faster than real time."""
TURN_PAUSE_S = 1.0
"""Sound after a longer pause counts as a turn of its own, while the fence is open."""
ANNOUNCED_PAUSE_S = 0.1
"""The same after the assistant has announced a turn."""


class FenceState(StrEnum):
    OPEN = "open"
    HOLDING = "holding"
    CONFIRMED = "confirmed"


class Verdict(StrEnum):
    NEW_TURN = "new_turn"
    FALSE_ALARM = "false_alarm"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class FenceRules:
    """`old_turn_s`: how long a turn that was interrupted may run on. `false_alarm_s`, which is more: see the table.

    `new_turn_pause_s`: longer than the pauses of most sentences.
    """

    old_turn_s: float = 2.0
    false_alarm_s: float = 2.4
    new_turn_pause_s: float = 0.6


@dataclass(frozen=True, slots=True)
class Ruling:
    """Frames for the playout queue, and the verdict if the fence has just opened.

    `dropped` counts frames that nobody will hear. `clean`: the stream was joined at its live edge, in the middle of
    whatever was there, so resampler and packetizer must forget the old turn.
    """

    frames: Sequence[PlayFrame] = ()
    verdict: Verdict | None = None
    dropped: int = 0
    clean: bool = False


HELD = Ruling()


class PauseMeter:
    """Measures how long the assistant was silent before it sounds again, in the time of its audio, not of its arrival.

    Audio that comes faster than real time runs ahead of the clock, and a late chunk pushes the stream back once;
    neither is a pause. Silence that was sent counts by its frames, silence that was not sent by the clock. Fed with
    every frame in order of arrival; times are monotonic seconds. Before the first sound all was a pause.
    """

    def __init__(self) -> None:
        self.sound_until = -inf
        """When the last sound ends if all is played in real time: later than now if the assistant sends ahead."""
        self._stream_end = -inf
        self._pause_s = inf

    def measure(self, *, audible: bool, now: float) -> float:
        """The silence in front of this frame, seconds."""
        gap_s = now - self._stream_end
        pause_s = self._pause_s + (gap_s if gap_s > JITTER_S else 0.0)
        self._stream_end = max(self._stream_end, now) + FRAME_S
        if audible:
            self._pause_s = 0.0
            self.sound_until = self._stream_end
        else:
            self._pause_s = pause_s + FRAME_S
        return pause_s


class Fence:
    """The state table above. Plain object; every method takes the time and returns what to do."""

    def __init__(self, rules: FenceRules) -> None:
        self._rules = rules
        self.state = FenceState.OPEN
        self.turn = 1
        self.cut_through = 0
        self._since = 0.0
        self._unheard: Sequence[PlayFrame] = ()
        self._held = Held()
        self._meter = PauseMeter()
        self._assistant_speaking: bool | None = None
        self._assistant_turn: int | None = None
        self._sound_since_stop = 0
        self._old_stopped = False
        self._turn_announced = False
        self._turn_sounds = False

    @property
    def deadline(self) -> float | None:
        """When `expire` must be called; None while open."""
        return None if self.state is FenceState.OPEN else self._since + self._rules.false_alarm_s

    def is_stale(self, turn: int) -> bool:
        return turn <= self.cut_through

    def cut(self, unheard: Sequence[PlayFrame], now: float, *, confirmed: bool) -> int:
        """Close the fence over all turns so far; returns the number of the turn that was cut."""
        if self.state is not FenceState.OPEN:
            if confirmed:
                self.confirm(now)
            return self.cut_through
        self.cut_through = self.turn
        self.turn += 1
        self.state = FenceState.CONFIRMED if confirmed else FenceState.HOLDING
        self._since = now
        self._unheard = unheard
        self._old_stopped = self._assistant_speaking is False and self._sound_since_stop <= STOP_TAIL_FRAMES
        self._turn_announced = False
        return self.cut_through

    def clear(self) -> None:
        """Nothing of all turns so far is to be heard any more, and what comes is admitted. Only while open."""
        self.cut_through = self.turn
        self.turn += 1
        self._turn_sounds = False

    def reconnected(self, now: float) -> None:
        """Another assistant speaks from now on: what the one before was saying is over, its turns do not count."""
        self.confirm(now)
        self._assistant_speaking = self._assistant_turn = None

    def confirm(self, now: float) -> None:
        """The assistant agrees that it was interrupted."""
        if self.state is FenceState.HOLDING:
            self.state = FenceState.CONFIRMED
            self._since = now
            self._held.forget_pauses()

    def assistant_started(self, turn_index: int | None, now: float) -> Ruling:
        """The assistant says that it began to speak (`turn_index` as it counts, if it does)."""
        new = self._announces_new_turn(turn_index, now)
        self._assistant_speaking = True
        if turn_index is not None:
            self._assistant_turn = turn_index
        if self.state is FenceState.OPEN:
            self._turn_announced = True
            return HELD
        return self._open(Verdict.NEW_TURN, self._after_long_pause()) if new else HELD

    def assistant_stopped(self) -> None:
        """The assistant says that it stopped speaking; its audio may still run on."""
        self._assistant_speaking = False
        self._sound_since_stop = 0
        if self.state is not FenceState.OPEN:
            self._old_stopped = True

    def offer(self, data: bytes, *, audible: bool, now: float) -> Ruling:
        """One frame from the assistant, in order of arrival."""
        pause_s = self._meter.measure(audible=audible, now=now)
        self._sound_since_stop += audible
        if self.state is FenceState.OPEN:
            if audible:
                self._count_turn(pause_s)
            return Ruling((PlayFrame(self.turn, data, audible, now),))
        self._held.add(PlayFrame(self.turn, data, audible, now), pause_s)
        if not audible:
            return HELD
        if pause_s >= (self._rules.new_turn_pause_s if self._old_stopped else SURE_PAUSE_S):
            return self._open(Verdict.NEW_TURN, self._held.after_last)
        if now >= self._since + self._rules.old_turn_s + MARGIN_S:
            return self._outlast(pause_s, now)
        return HELD

    def expire(self, now: float) -> Ruling:
        """The deadline has passed and the assistant is silent."""
        if self.state is FenceState.OPEN:
            return HELD
        if not self._agreed and self._sends_ahead(now):
            return self._resume()
        return self._open(Verdict.EXPIRED, None)

    @property
    def _agreed(self) -> bool:
        return self.state is FenceState.CONFIRMED or self._old_stopped

    def _sends_ahead(self, now: float) -> bool:
        return self._meter.sound_until >= now + AHEAD_S

    def _count_turn(self, pause_s: float) -> None:
        if self._turn_sounds and pause_s < (ANNOUNCED_PAUSE_S if self._turn_announced else TURN_PAUSE_S):
            return
        self.turn += self._turn_sounds
        self._turn_sounds, self._turn_announced = True, False

    def _after_long_pause(self) -> int | None:
        long_enough = self._held.longest_pause_s >= self._rules.new_turn_pause_s
        return self._held.after_longest if long_enough else None

    def _announces_new_turn(self, turn_index: int | None, now: float) -> bool:
        if self.state is FenceState.CONFIRMED:
            return True
        if turn_index is not None and self._assistant_turn is not None and turn_index <= self._assistant_turn:
            return False
        return bool(self._assistant_speaking) or self._old_stopped or now >= self._since + LATE_ANNOUNCEMENT_S

    def _outlast(self, pause_s: float, now: float) -> Ruling:
        """The assistant sounds when an old turn no longer can."""
        start = self._after_long_pause()
        if start is None and pause_s >= FRESH_PAUSE_S:
            start = self._held.after_last
        if start is None and not self._agreed:
            return self._resume()
        if start is None and not self._sends_ahead(now):
            start = self._held.after_last
        return self._open(Verdict.NEW_TURN, start)

    def _resume(self) -> Ruling:
        frames = [PlayFrame(self.turn, frame.data, frame.audible) for frame in self._unheard] + self._held.frames
        dropped = self._held.overflow
        self._close_books(sounds=True)
        return Ruling(frames, Verdict.FALSE_ALARM, dropped)

    def _open(self, verdict: Verdict, start: int | None) -> Ruling:
        frames = () if start is None else tuple(self._held.frames[start:])
        dropped = len(self._held.frames) - len(frames) + self._held.overflow
        self._close_books(sounds=bool(frames))
        return Ruling(frames, verdict, dropped, clean=start is None)

    def _close_books(self, *, sounds: bool) -> None:
        self.state = FenceState.OPEN
        self._turn_sounds = sounds
        self._unheard = ()
        self._held = Held()
