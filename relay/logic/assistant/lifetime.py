"""Finds the moment to move a conversation to a new assistant call, before the provider ends the one that it has.

| state  | meaning                                 | the call may move                             | deadline    |
|--------|-----------------------------------------|-----------------------------------------------|-------------|
| early  | the limit is far away                   | no                                            | `window_at` |
| window | a quiet moment is looked for: nobody    | QUIET: `quiet_s` after the assistant's words, | `hurry_at`  |
|        | speaks, and nobody is about to          | `unanswered_s` if there should be more, or    |             |
|        |                                         | after the caller's                            |             |
| hurry  | the limit is near: any moment at which  | HURRIED: whenever nobody speaks, and all that | `last_at`   |
|        | nobody has to begin again               | the caller said was understood                |             |
| last   | now, or the provider ends the call      | FORCED: at once                               | the limit   |

A short silence after the caller's words is not quiet, as the assistant is about to answer them. In a hurry the next
call has to answer in its place.
"""

from dataclasses import dataclass
from enum import StrEnum


class Moment(StrEnum):
    """The reason for which the call may move now."""

    QUIET = "quiet"
    HURRIED = "hurried"
    FORCED = "forced"


@dataclass(frozen=True, slots=True)
class Scene:
    """The call as it is now. `assistant_due`: it is about to speak, or in a pause. `unfinished`: the caller says
    something, or has said something that the assistant is not known to have understood."""

    caller_speaks: bool = False
    assistant_speaks: bool = False
    assistant_due: bool = False
    unfinished: bool = False


@dataclass(frozen=True, slots=True)
class LifetimeRules:
    """The provider ends a call `limit_s` after it began. The window takes at most half of that, the hurry at most a
    quarter, and what is kept for the last at most a tenth."""

    limit_s: float
    window_s: float = 60.0
    hurry_s: float = 15.0
    last_s: float = 5.0
    quiet_s: float = 0.8
    unanswered_s: float = 4.0


class Lifetime:
    """One per assistant call, which began at `began_at`. Times are monotonic seconds."""

    def __init__(self, rules: LifetimeRules, began_at: float) -> None:
        ends_at = began_at + rules.limit_s
        self._rules = rules
        self.window_at = ends_at - min(rules.window_s, rules.limit_s / 2)
        self.listen_at = self.window_at - rules.unanswered_s
        """By then what was before it plays no part."""
        self.hurry_at = ends_at - min(rules.hurry_s, rules.limit_s / 4)
        self.last_at = ends_at - min(rules.last_s, rules.limit_s / 10)
        self._assistant_was_last = False
        self._sounded_at: float | None = None

    def moment(self, scene: Scene, now: float) -> Moment | None:
        """Whether the call may move now. To be asked again and again from `listen_at` on."""
        if self._sounded_at is None or scene.caller_speaks or scene.assistant_speaks:
            self._sounded_at = now
            self._assistant_was_last = scene.assistant_speaks
        if now >= self.last_at:
            return Moment.FORCED
        if now >= self.hurry_at:
            return None if scene.assistant_speaks or scene.unfinished else Moment.HURRIED
        settled = self._assistant_was_last and not scene.assistant_due
        quiet_s = self._rules.quiet_s if settled else self._rules.unanswered_s
        return Moment.QUIET if self.window_at <= now and now - self._sounded_at >= quiet_s else None
