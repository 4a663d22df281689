"""The fence: which of the assistant's audio may reach the caller, after an interruption and always.

Every frame gets the number of the assistant's turn it belongs to. An interruption cuts all turns so far; what arrives
later is held, because the assistant goes on sending the old turn until its own detector agrees (it has no cancel
message), and opens only for what is known to be new. Numbers only rise, so a frame is stale exactly if its turn is not
above `cut_through`.

open: audio is admitted.
    `cut(confirmed=False)`, we heard the caller first            -> holding
    `cut(confirmed=True)`, the assistant said so first           -> confirmed
holding: we cut, the assistant has not agreed yet; its audio is held.
    the assistant says `user-interrupted`                        -> confirmed
    its new turn has begun (below)                               -> open, from there
    it still talks `old_turn_s` + `MARGIN_S` after the cut       -> open: with the words after a pause of
        `new_turn_pause_s` if there was one, else it was a false alarm, and all that was not heard plays again
    deadline, `false_alarm_s` after the cut: it fell silent      -> open, held audio dropped
confirmed: both agree; the old turn may still run on, and is held.
    its new turn has begun                                       -> open, from there
    deadline, `old_turn_s` + `MARGIN_S` after it agreed          -> open: with the words after the longest pause,
        if they still run on (no old turn lasts so long), else held audio dropped

A new turn has begun when the assistant says that it started to speak (with a higher turn index, or after it said that
it stopped or was interrupted), when sound follows a pause of `SURE_PAUSE_S` in its audio, or any pause after it said
that it stopped. A pause of `new_turn_pause_s` is not enough to open at once, as sentences have such pauses, but at the
deadline what follows it is taken for the new turn: nothing of that is lost, it is only late. Pauses are measured in
media time, so audio that comes faster than real time shows none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from relay.logic.playout import PlayFrame
from relay.media.frames import FRAME_MS

_FRAME_S = FRAME_MS / 1000
MARGIN_S = 0.15
"""What network and framing may add to the time that an old turn runs on."""
WORD_PAUSE_S = 0.2
"""The shortest pause that separates two runs of sound."""
STOPPED_PAUSE_S = 0.1
SURE_PAUSE_S = 1.0
"""No sentence has such a pause; an interrupted assistant keeps quiet about this long (Vapi's backoffSeconds, 1 s)."""
ANNOUNCED_RUN_S = 0.5
"""Sound that began so shortly before the assistant announced its turn, after a pause, belongs to that turn."""
LATE_ANNOUNCEMENT_S = 0.5
"""An announcement so soon after a cut may still be that of the turn which was cut."""
TURN_PAUSE_S = 1.0
"""Sound after a longer pause counts as a turn of its own."""


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


class Fence:
    """The state table above. Plain object; every method takes the time and returns what to do."""

    def __init__(self, rules: FenceRules) -> None:
        self._rules = rules
        self.state = FenceState.OPEN
        self.turn = 1
        self.cut_through = 0
        self._cut_at = 0.0
        self._confirmed_at = 0.0
        self._unheard: Sequence[PlayFrame] = ()
        self._unheard_s = 0.0
        self._held: list[PlayFrame] = []
        self._run_index: int | None = None
        self._run_pause_s = 0.0
        self._run_began_at = 0.0
        self._pause_s = TURN_PAUSE_S
        self._media_end = 0.0
        self._sounded_at = 0.0
        self._any_sound = False
        self._assistant_speaking: bool | None = None
        self._assistant_turn: int | None = None
        self._old_stopped = False
        self._turn_announced = False

    @property
    def deadline(self) -> float | None:
        """When `expire` must be called; None while open."""
        if self.state is FenceState.HOLDING:
            return self._cut_at + self._rules.false_alarm_s
        if self.state is FenceState.CONFIRMED:
            return self._confirmed_at + self._rules.old_turn_s + MARGIN_S
        return None

    def is_stale(self, turn: int) -> bool:
        return turn <= self.cut_through

    def cut(self, unheard: Sequence[PlayFrame], now: float, *, confirmed: bool) -> int:
        """Close the fence over all turns so far; returns the number of the turn that was cut."""
        cut_turn = self.turn
        self.cut_through = cut_turn
        self.turn += 1
        self.state = FenceState.CONFIRMED if confirmed else FenceState.HOLDING
        self._cut_at = self._confirmed_at = now
        self._unheard = unheard
        self._unheard_s = len(unheard) * _FRAME_S
        self._held = []
        self._run_index, self._run_pause_s = None, 0.0
        self._old_stopped = self._assistant_speaking is False
        self._turn_announced = False
        return cut_turn

    def confirm(self, now: float) -> None:
        """The assistant agrees that it was interrupted."""
        if self.state is FenceState.HOLDING:
            self.state = FenceState.CONFIRMED
            self._confirmed_at = now
            self._unheard = ()

    def assistant_started(self, turn_index: int | None, now: float) -> Ruling:
        """The assistant says that it began to speak (`turn_index` as it counts, if it does)."""
        new = self.state is not FenceState.OPEN and self._announces_new_turn(turn_index, now)
        self._assistant_speaking = True
        if turn_index is not None:
            self._assistant_turn = turn_index
        if self.state is FenceState.OPEN:
            self._turn_announced = True
            return HELD
        if not new:
            return HELD
        recent = now - self._run_began_at <= ANNOUNCED_RUN_S
        return self._open(Verdict.NEW_TURN, self._run_index if recent else None)

    def assistant_stopped(self) -> None:
        self._assistant_speaking = False
        if self.state is not FenceState.OPEN:
            self._old_stopped = True

    def offer(self, data: bytes, *, audible: bool, now: float) -> Ruling:
        """One frame from the assistant, in order of arrival."""
        pause_s = self._measure_pause(audible=audible, now=now)
        if self.state is FenceState.OPEN:
            if audible and pause_s >= (STOPPED_PAUSE_S if self._turn_announced else TURN_PAUSE_S):
                self._begin_turn()
            return Ruling((PlayFrame(self.turn, data, audible),))
        self._held.append(PlayFrame(self.turn, data, audible))
        if not audible:
            return HELD
        if pause_s >= (STOPPED_PAUSE_S if self._old_stopped else SURE_PAUSE_S):
            return self._open(Verdict.NEW_TURN, len(self._held) - 1)
        if pause_s >= max(WORD_PAUSE_S, self._run_pause_s):
            self._run_index, self._run_pause_s, self._run_began_at = len(self._held) - 1, pause_s, now
        if self.state is FenceState.HOLDING and now >= self._cut_at + self._rules.old_turn_s + MARGIN_S:
            long_pause = self._run_pause_s >= self._rules.new_turn_pause_s
            return self._open(Verdict.NEW_TURN, self._run_index) if long_pause else self._resume()
        return HELD

    def expire(self, now: float) -> Ruling:
        """The deadline has passed without an answer from the assistant."""
        if self.state is FenceState.HOLDING and not self._old_stopped and self._unheard_s >= self._rules.old_turn_s:
            return self._resume()
        still_runs = now - self._sounded_at <= WORD_PAUSE_S
        confirmed = self.state is FenceState.CONFIRMED
        return self._open(Verdict.EXPIRED, self._run_index if confirmed and still_runs else None)

    def _announces_new_turn(self, turn_index: int | None, now: float) -> bool:
        if self.state is FenceState.CONFIRMED:
            return True
        if turn_index is not None and self._assistant_turn is not None:
            return turn_index > self._assistant_turn
        if self._assistant_speaking or self._old_stopped:
            return True
        return now >= self._cut_at + LATE_ANNOUNCEMENT_S

    def _measure_pause(self, *, audible: bool, now: float) -> float:
        """Silence in media time before this frame, seconds; keeps the running figures."""
        gap_s = max(0.0, now - self._media_end) if self._any_sound else TURN_PAUSE_S
        self._media_end = max(self._media_end, now) + _FRAME_S
        pause_s = self._pause_s + gap_s
        if audible:
            self._pause_s = 0.0
            self._sounded_at = now
            self._any_sound = True
        else:
            self._pause_s = pause_s + _FRAME_S
        return pause_s

    def _begin_turn(self) -> None:
        self.turn += 1
        self._turn_announced = False

    def _resume(self) -> Ruling:
        frames = [PlayFrame(self.turn, frame.data, frame.audible) for frame in self._unheard] + self._held
        self._close_books()
        return Ruling(frames, Verdict.FALSE_ALARM)

    def _open(self, verdict: Verdict, from_index: int | None) -> Ruling:
        frames = [] if from_index is None else self._held[from_index:]
        dropped = len(self._held) - len(frames)
        self._close_books()
        return Ruling(frames, verdict, dropped, clean=from_index is None)

    def _close_books(self) -> None:
        self.state = FenceState.OPEN
        self._unheard = ()
        self._held = []
        self._run_index = None
