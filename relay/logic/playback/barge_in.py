"""Decides when a caller who speaks may silence the assistant: first a pause, then perhaps a cut.

Sound that may be speech pauses playback at once, which costs nothing if it was a cough. A cut throws away what the
caller has not heard; it comes when it is sure that the caller speaks and, where that is configured, when the assistant
agrees, or has recognised enough words.

| state and event                                                    | next state, action                            |
|--------------------------------------------------------------------|-----------------------------------------------|
| idle: nothing is paused                                            |                                               |
| - `likely`, and the caller can hear the assistant                  | paused, PAUSE                                 |
| - `confirmed`, and the caller can hear the assistant               | as from paused; PAUSE if it leads to waiting  |
| - `confirmed`, and some sound lingers (see below)                  | idle, CLEAR if the detector decides alone     |
| - `disagreed`: what was taken for an agreement was none            | idle, CUT                                     |
| - `interrupted`: the assistant says that it was cut off            | idle, CUT                                     |
| paused: the caller may be speaking; nothing is lost yet            |                                               |
| - `rejected`: it was no speech                                     | idle, RESUME                                  |
| - `confirmed`, and the detector decides alone                      | idle, CUT                                     |
| - `confirmed`, and words or the assistant's consent are needed     | waiting                                       |
| - `confirmed`, and a classifier is to be asked first               | asking, ASK                                   |
| - `interrupted`                                                    | idle, CUT                                     |
| - deadline, `PAUSE_MAX_S` after the pause began                    | idle, RESUME                                  |
| asking: a classifier has to say first whether that interrupts; the |                                               |
| assistant is paused                                                |                                               |
| - `judged` an interruption                                         | as from paused when `confirmed`, without it   |
| - `judged` none                                                    | idle, RESUME                                  |
| - `interrupted`                                                    | idle, CUT                                     |
| - deadline, `ask_s` after the confirmation                         | as `judged` an interruption                   |
| waiting: the caller speaks, perhaps not to interrupt; still paused |                                               |
| - `heard_words`, at least `min_words` of them, with policy "local" | idle, CUT                                     |
| - `agreed`: the caller has only agreed (see `agreement`)           | idle, RESUME                                  |
| - `interrupted`                                                    | idle, CUT                                     |
| - deadline, `agree_s` after the confirmation                       | idle, RESUME                                  |

With policy "local" the detector decides alone, unless `min_words` are asked for. With "both" it pauses, and the
assistant has to agree. With "assistant" it is not asked. The assistant's own word cuts with every policy. If
interrupting is not `enabled`, nothing above happens. All that follows within `debounce_s` of a cut belongs to the same
interruption, and changes nothing, unless `agreed` has ended that.

Sound lingers when by the clock all of it was played, but the marks that prove it have not come back.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

PAUSE_MAX_S = 0.7
"""The detector confirms or rejects a suspicion in 512 ms; this ends the pause when it falls silent."""

Policy = Literal["local", "assistant", "both"]


class Action(StrEnum):
    """What is to be done to playback."""

    PAUSE = "pause"
    """Send nothing for now; what was sent plays on."""
    RESUME = "resume"
    """End the pause; nothing was lost."""
    CUT = "cut"
    """Flush all that the caller has not heard: the caller interrupts."""
    ASK = "ask"
    """Pause, if that was not done before, and ask the classifier."""
    CLEAR = "clear"
    """Make the caller's side forget what it may still hold. It is no interruption: what comes next is played."""


class BargeInState(StrEnum):
    """The states of the table above."""

    IDLE = "idle"
    PAUSED = "paused"
    ASKING = "asking"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class BargeInRules:
    """Who may interrupt: see above. Times are seconds, `min_words` of the caller are counted by the assistant.

    `ask_s` is how long a classifier may take; None: there is none.
    """

    enabled: bool = True
    policy: Policy = "local"
    min_words: int = 0
    agree_s: float = 1.0
    debounce_s: float = 0.3
    ask_s: float | None = None


class BargeIn:
    """Follows the table above, for one call. Methods return the action to be carried out at once, if there is one.

    `now` is monotonic seconds. `interruptible`: the caller can hear the assistant, or is about to, and may interrupt
    it. `lingers`: see above.
    """

    def __init__(self, rules: BargeInRules) -> None:
        self._rules = rules
        self._local = rules.enabled and rules.policy != "assistant"
        self._detector_is_enough = rules.policy == "local" and rules.min_words == 0
        self.state = BargeInState.IDLE
        self.deadline: float | None = None
        """When `expire` has something to do; None while nothing is paused."""
        self._cut_at = -math.inf

    def likely(self, *, interruptible: bool, now: float) -> Action | None:
        """The detector suspects that the caller speaks. The suspicion is confirmed, rejected, or expires."""
        if self.state is not BargeInState.IDLE or not self._may_begin(now, interruptible=interruptible):
            return None
        self._enter(BargeInState.PAUSED, now + PAUSE_MAX_S)
        return Action.PAUSE

    def confirmed(self, *, interruptible: bool, lingers: bool = False, now: float) -> Action | None:
        """The detector is sure that the caller speaks."""
        if self.state in {BargeInState.ASKING, BargeInState.WAITING}:
            return None
        paused = self.state is BargeInState.PAUSED
        if not paused and not self._may_begin(now, interruptible=interruptible):
            clears = self._detector_is_enough and self._may_begin(now, interruptible=lingers)
            return Action.CLEAR if clears else None
        if self._rules.ask_s is not None:
            self._enter(BargeInState.ASKING, now + self._rules.ask_s)
            return Action.ASK
        return self._take_for_interruption(now) or (None if paused else Action.PAUSE)

    def judged(self, *, interrupts: bool, now: float) -> Action | None:
        """The classifier has answered."""
        if self.state is not BargeInState.ASKING:
            return None
        return self._take_for_interruption(now) if interrupts else self._resume()

    def rejected(self) -> Action | None:
        """The detector takes its suspicion back."""
        return self._resume() if self.state is BargeInState.PAUSED else None

    def heard_words(self, count: int, now: float) -> Action | None:
        """The assistant has recognised so many words of the caller in a row."""
        enough = self._rules.policy == "local" and count >= self._rules.min_words > 0
        return self._cut(now) if enough and self.state is BargeInState.WAITING else None

    def agreed(self) -> Action | None:
        """The caller has not interrupted, but agreed: the assistant goes on, and whatever follows is something new."""
        self._cut_at = -math.inf
        return self._resume() if self.state is BargeInState.WAITING else None

    def disagreed(self, now: float) -> Action:
        """It was an interruption all the same."""
        return self._cut(now)

    def interrupted(self, now: float) -> Action | None:
        """The assistant says that the caller has interrupted it."""
        if not self._rules.enabled or now - self._cut_at < self._rules.debounce_s:
            return None
        return self._cut(now)

    def expire(self, now: float) -> Action | None:
        """Act on the deadline if it has passed: a pause that nobody has decided about is over."""
        if self.deadline is None or now < self.deadline:
            return None
        return self._take_for_interruption(now) if self.state is BargeInState.ASKING else self._resume()

    def _take_for_interruption(self, now: float) -> Action | None:
        if self._detector_is_enough:
            return self._cut(now)
        self._enter(BargeInState.WAITING, now + self._rules.agree_s)
        return None

    def _may_begin(self, now: float, *, interruptible: bool) -> bool:
        return self._local and interruptible and now - self._cut_at >= self._rules.debounce_s

    def _enter(self, state: BargeInState, deadline: float | None) -> None:
        self.state, self.deadline = state, deadline

    def _cut(self, now: float) -> Action:
        self._cut_at = now
        self._enter(BargeInState.IDLE, None)
        return Action.CUT

    def _resume(self) -> Action:
        self._enter(BargeInState.IDLE, None)
        return Action.RESUME
