"""Who may silence the assistant, and when: from the first suspicion that the caller speaks to the cut.

idle: the assistant speaks or nobody does.
    `likely`, and the assistant can be heard              -> ducked; duck
    `confirmed`, and the assistant can be heard           -> as in ducked
    `confirmed`, our own decision is enough, and all of
        it should be played by now, but lingers           -> idle; clear
    `interrupted`: the assistant says that it was cut off -> idle; cut, agreed
ducked: playback is paused, nothing is lost yet.
    `rejected`: it was no speech                          -> idle; resume
    `confirmed`, and our own decision is enough           -> idle; cut
    `confirmed`, and words or the assistant must agree    -> waiting
    `interrupted`                                         -> idle; cut, agreed
    deadline, `DUCK_MAX_S`                                -> idle; resume
waiting: the caller speaks; playback stays paused until it is known that it is meant as an interruption.
    `heard_words`, at least `min_words` of them           -> idle; cut
    `interrupted`                                         -> idle; cut, agreed
    deadline, `agree_s` after the confirmation            -> idle; resume

Policies: "local", our detector decides, and the assistant's word counts as well; "assistant", only its word; "both",
our detector pauses and the assistant decides. Not `enabled`: nobody interrupts, whatever the assistant says. Within
`debounce_s` of a cut all that follows is the same interruption.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

DUCK_MAX_S = 0.7
"""The detector makes up its mind in less; this is for when it falls silent."""

Policy = Literal["local", "assistant", "both"]


class Action(StrEnum):
    DUCK = "duck"
    RESUME = "resume"
    CUT = "cut"
    CLEAR = "clear"


class BargeInState(StrEnum):
    IDLE = "idle"
    DUCKED = "ducked"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class BargeInRules:
    enabled: bool = True
    policy: Policy = "local"
    min_words: int = 0
    agree_s: float = 1.0
    debounce_s: float = 0.3


class BargeIn:
    """The table above. Plain object; methods take the time in seconds and return what is to be done, if anything.

    `interruptible` says whether there is anything to interrupt: the assistant can be heard, and may be. `lingers`: by
    the marks something may still be heard, though by the clock nothing should.
    """

    def __init__(self, rules: BargeInRules) -> None:
        self._rules = rules
        self._local = rules.enabled and rules.policy != "assistant"
        self._own_word_is_enough = rules.policy == "local" and rules.min_words == 0
        self.state = BargeInState.IDLE
        self.deadline: float | None = None
        self._cut_at = -math.inf

    def likely(self, *, interruptible: bool, now: float) -> Action | None:
        """The detector suspects that the caller speaks."""
        if self.state is not BargeInState.IDLE or not self._may_begin(now, interruptible=interruptible):
            return None
        self._enter(BargeInState.DUCKED, now + DUCK_MAX_S)
        return Action.DUCK

    def confirmed(self, *, interruptible: bool, lingers: bool = False, now: float) -> Action | None:
        """The detector is sure that the caller speaks."""
        if self.state is BargeInState.WAITING:
            return None
        ducked = self.state is BargeInState.DUCKED
        if not ducked and not self._may_begin(now, interruptible=interruptible):
            clears = self._own_word_is_enough and self._may_begin(now, interruptible=lingers)
            return Action.CLEAR if clears else None
        if self._own_word_is_enough:
            return self._cut(now)
        self._enter(BargeInState.WAITING, now + self._rules.agree_s)
        return None if ducked else Action.DUCK

    def rejected(self) -> Action | None:
        """The detector takes its suspicion back."""
        return self._resume() if self.state is BargeInState.DUCKED else None

    def heard_words(self, count: int, now: float) -> Action | None:
        """The assistant has recognised so many words of the caller in a row."""
        enough = self._rules.policy == "local" and count >= self._rules.min_words > 0
        return self._cut(now) if enough and self.state is BargeInState.WAITING else None

    def interrupted(self, now: float) -> Action | None:
        """The assistant says that the caller has interrupted it."""
        if not self._rules.enabled or now - self._cut_at < self._rules.debounce_s:
            return None
        return self._cut(now)

    def expire(self, now: float) -> Action | None:
        """The deadline has passed."""
        return self._resume() if self.deadline is not None and now >= self.deadline else None

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
