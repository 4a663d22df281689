"""Decides which of the assistant's audio may reach the caller, above all after an interruption.

An assistant that is interrupted goes on sending the old turn until its own detector has noticed, for up to two seconds,
and there is no message that makes it stop (Vapi). The fence keeps that tail from the caller. It gives every frame the
number of the assistant's turn that it belongs to; numbers only rise. An interruption cuts all turns so far, and the
fence closes: what arrives is held until it is known to belong to a new turn, to an old one, or to a turn that nobody
interrupted after all. A frame is stale, and must never be sent, exactly if its turn is not above `cut_through`.

| state and event                                                 | next state, verdict                              |
|-----------------------------------------------------------------|--------------------------------------------------|
| open: all audio is admitted                                     |                                                  |
| - `cut`, not confirmed: our detector heard the caller first     | holding                                          |
| - `cut`, confirmed: the assistant told of the interruption      | confirmed                                        |
| - `clear`: by the clock all was played, by the marks not        | open; what was admitted so far is stale          |
| holding: audio is held; the assistant has not agreed yet        |                                                  |
| - `confirm`: it says that it was interrupted                    | confirmed; what is held is old                   |
| - `take_back`: the caller has only agreed (`agreement`)         | returned, AGREEMENT                              |
| - a new turn begins (see below)                                 | open, NEW_TURN                                   |
| - it sounds `old_turn_s` + `MARGIN_S` after the cut             | open, as told under "Outlasting"                 |
| - deadline: it is silent `false_alarm_s` after the cut          | open, EXPIRED; what is held is dropped. But its  |
|                                                                 | silence says nothing if it had sent far ahead of |
|                                                                 | real time and not stopped: open, FALSE_ALARM     |
| confirmed: the assistant agrees; its old turn may still run on  |                                                  |
| - a new turn begins                                             | open, NEW_TURN                                   |
| - it sounds `old_turn_s` + `MARGIN_S` after it agreed           | open, as told under "Outlasting"                 |
| - deadline: it is silent `false_alarm_s` after it agreed        | open, EXPIRED; what is held is dropped           |
| returned: all plays again and audio is admitted, but too little |                                                  |
| time has passed to know that the assistant was not interrupted  |                                                  |
| - a new turn begins: it was interrupted after all               | open, NEW_TURN; what plays again is cut          |
| - `cut`: by the caller anew, or because the assistant says so   | holding or confirmed, as from open               |
| - it sounds `old_turn_s` + `MARGIN_S` after the cut             | open                                             |
| - deadline: `false_alarm_s` after the cut                       | open                                             |
| any: `reconnected`, another assistant speaks from now on        | open. Where audio was held: EXPIRED, that is     |
|                                                                 | dropped, as it was of the assistant before       |

A new turn begins
- with the sound after a pause of `SURE_PAUSE_S` in the assistant's audio;
- with the sound after a pause of `new_turn_pause_s`, once the assistant has said that it stopped;
- when the assistant says that it started to speak. Of what is held, the words after a pause of `new_turn_pause_s` are
  taken along. In holding and returned, the message may be the late announcement of the turn that was cut, and is
  ignored: if its turn index is not higher than the last; or if the old turn was not announced yet, did not stop, and
  was cut less than `LATE_ANNOUNCEMENT_S` ago.

Outlasting: the assistant sounds at a time when no old turn can. What was interrupted is over, or nothing was. The first
of these that holds decides:
1. There was a pause of `new_turn_pause_s`: NEW_TURN, with all since the longest pause. Sentences may have such a pause,
   so it did not open the fence when it came; nothing of a new turn is lost, it is only late.
2. There was a pause of `FRESH_PAUSE_S` just now: NEW_TURN, with this sound.
3. The assistant neither agreed nor stopped: FALSE_ALARM. All that the caller has not heard plays again.
4. NEW_TURN, with all since the last pause. If it sends far ahead of real time, or made no pause, what is held may be
   old: it is dropped, and the caller hears what comes next.

A cut while the fence is closed changes nothing: else a caller who speaks again and again would keep it closed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf

from msgspec.structs import replace

from relay.logic.playback.frame import PlayFrame
from relay.logic.playback.held import Held
from relay.logic.playback.ruling import HELD, Ruling, Verdict
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
GOES_ON_S = 0.4
"""An assistant that was silent for less is within a sentence."""
AHEAD_S = 0.5
"""An assistant that has sent so much more than could be played by now sends faster than real time."""
TURN_PAUSE_S = 1.0
"""Sound after a longer pause counts as a turn of its own, while the fence is open."""
ANNOUNCED_PAUSE_S = 0.1
"""The same after the assistant has announced a turn."""


class FenceState(StrEnum):
    """The states of the table above."""

    OPEN = "open"
    HOLDING = "holding"
    CONFIRMED = "confirmed"
    RETURNED = "returned"


@dataclass(frozen=True, slots=True)
class FenceRules:
    """Times of the table above, in seconds.

    `old_turn_s` is how long a turn that was interrupted may run on; `false_alarm_s`, which is longer, is when silence
    decides; `new_turn_pause_s` is longer than the pauses of most sentences.
    """

    old_turn_s: float = 2.0
    false_alarm_s: float = 2.4
    new_turn_pause_s: float = 0.6


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
    """Follows the table above, for one call. `now` is monotonic seconds; a `Ruling` is to be carried out at once.

    `turn` is the number that the assistant's next frame gets; all turns up to `cut_through` are cut.
    """

    def __init__(self, rules: FenceRules) -> None:
        self._rules = rules
        self.state = FenceState.OPEN
        self.turn = 1
        self.cut_through = 0
        self._since = 0.0
        self._unheard: Sequence[PlayFrame] = ()
        self._before: Sequence[PlayFrame] = ()
        self._held = Held()
        self._meter = PauseMeter()
        self._assistant_speaking: bool | None = None
        """What the assistant said last of itself; None before it said anything."""
        self._assistant_turn: int | None = None
        self._sound_since_stop = 0
        self._old_stopped = False
        """Whether the assistant has said of the turn that was cut that it stopped."""
        self._turn_announced = False
        self._turn_sounds = False
        """Whether `turn` has a sound already, so that the next one gets a new number."""

    @property
    def deadline(self) -> float | None:
        """When `expire` must be called; None while open."""
        return None if self.state is FenceState.OPEN else self._since + self._rules.false_alarm_s

    @property
    def is_open(self) -> bool:
        """Whether the assistant's audio is admitted."""
        return self.state in {FenceState.OPEN, FenceState.RETURNED}

    def goes_on(self, now: float) -> bool:
        """Whether the assistant talks on, as if nobody had interrupted it."""
        agreed = self._has_stopped if self.state is FenceState.OPEN else self._agreed
        return not agreed and self._meter.sound_until >= now - GOES_ON_S

    def is_stale(self, turn: int) -> bool:
        """Whether this turn was cut: none of it may be sent any more."""
        return turn <= self.cut_through

    def cut(self, now: float, *, confirmed: bool) -> int:
        """Cut all turns so far, and close the fence; returns the number of the newest turn that was cut.

        `confirmed`: the assistant said it first.
        """
        if not self.is_open:
            if confirmed:
                self.confirm(now)
            return self.cut_through
        if self.state is FenceState.RETURNED:
            self._held = Held()
        self.cut_through = self.turn
        self.turn += 1
        self.state = FenceState.CONFIRMED if confirmed else FenceState.HOLDING
        self._since = now
        self._unheard = self._before = ()
        self._old_stopped = self._has_stopped
        self._turn_announced = False
        return self.cut_through

    def keep(self, unheard: Sequence[PlayFrame], before: Sequence[PlayFrame] = ()) -> None:
        """What the cut took just now: `unheard` plays again if it was a false alarm, behind `before` if that is soon
        known. What a cut took before that one is kept."""
        if not (self.is_open or self._unheard):
            self._unheard, self._before = unheard, before

    def clear(self) -> None:
        """Cut all turns so far, but stay open: what comes is admitted. To be called only while open."""
        self.cut_through = self.turn
        self.turn += 1
        self._turn_sounds = False

    def reconnected(self) -> Ruling:
        """Another assistant speaks from now on: what the one before was saying is over, and its turn indexes mean
        nothing any more."""
        self._assistant_speaking = self._assistant_turn = None
        if not self.is_open:
            return self._open(Verdict.EXPIRED, None)
        if self.state is FenceState.RETURNED:
            self._reopen(sounds=True)
        return HELD

    def take_back(self) -> Ruling:
        """The caller has only agreed: what was cut plays again, until the assistant says otherwise. Only in holding."""
        ruling = self._play_again(Verdict.AGREEMENT, self._before)
        self.state = FenceState.RETURNED
        return ruling

    def confirm(self, now: float) -> None:
        """The assistant agrees that it was interrupted. Times count from now on, and pauses anew."""
        if self.state is FenceState.HOLDING:
            self.state = FenceState.CONFIRMED
            self._since = now
            self._held.forget_pauses()

    def assistant_started(self, turn_index: int | None, now: float) -> Ruling:
        """The assistant says that it began to speak. `turn_index` is its own count of turns, if it tells one."""
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
        frame = PlayFrame(self.turn, data, audible, now)
        self._held.add(frame, pause_s)
        if audible and pause_s >= (self._rules.new_turn_pause_s if self._old_stopped else SURE_PAUSE_S):
            return self._open(Verdict.NEW_TURN, self._held.after_last)
        outlasted = audible and now >= self._since + self._rules.old_turn_s + MARGIN_S
        if self.state is FenceState.RETURNED:
            if outlasted:
                self._reopen(sounds=True)
            return Ruling((frame,))
        return self._outlast(pause_s, now) if outlasted else HELD

    def expire(self, now: float) -> Ruling:
        """The deadline has passed, and the assistant is silent: open."""
        if self.is_open:
            if self.state is FenceState.RETURNED:
                self._reopen(sounds=True)
            return HELD
        if not self._agreed and self._sends_ahead(now):
            return self._resume()
        return self._open(Verdict.EXPIRED, None)

    @property
    def _has_stopped(self) -> bool:
        # More sound since it stopped than a tail is a turn that was not announced: that one has not stopped.
        return self._assistant_speaking is False and self._sound_since_stop <= STOP_TAIL_FRAMES

    @property
    def _agreed(self) -> bool:
        return self.state is FenceState.CONFIRMED or self._old_stopped

    def _sends_ahead(self, now: float) -> bool:
        return self._meter.sound_until >= now + AHEAD_S

    def _count_turn(self, pause_s: float) -> None:
        """A sound is admitted: it belongs to the present turn, or begins the next."""
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
        """The assistant sounds when an old turn no longer can: see "Outlasting" above."""
        start = self._after_long_pause()
        if start is None and pause_s >= FRESH_PAUSE_S:
            start = self._held.after_last
        if start is None and not self._agreed:
            return self._resume()
        if start is None and not self._sends_ahead(now):
            start = self._held.after_last
        return self._open(Verdict.NEW_TURN, start)

    def _resume(self) -> Ruling:
        ruling = self._play_again(Verdict.FALSE_ALARM)
        self._reopen(sounds=True)
        return ruling

    def _play_again(self, verdict: Verdict, before: Sequence[PlayFrame] = ()) -> Ruling:
        again = [PlayFrame(self.turn, frame.data, frame.audible) for frame in (*before, *self._unheard)]
        return Ruling([*again, *self._held.frames], verdict, dropped=self._held.overflow, repeated=len(before))

    def _open(self, verdict: Verdict, start: int | None) -> Ruling:
        frames = () if start is None else tuple(self._held.frames[start:])
        flush = self.state is FenceState.RETURNED
        dropped = 0 if flush else len(self._held.frames) - len(frames) + self._held.overflow
        if flush:
            self.cut_through = self.turn
            self.turn += 1
            frames = tuple(replace(frame, turn=self.turn) for frame in frames)
        self._reopen(sounds=bool(frames))
        return Ruling(frames, verdict, dropped, clean=start is None, flush=flush)

    def _reopen(self, *, sounds: bool) -> None:
        self.state = FenceState.OPEN
        self._turn_sounds = sounds
        self._unheard = self._before = ()
        self._held = Held()
