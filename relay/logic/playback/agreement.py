"""Tells an "uh-huh" from an interruption, once our detector has silenced the assistant.

An agreement is real speech, so the detector cuts. It is short, nothing follows it, and its words, if the assistant
transcribes them, are those of an agreement. Then the assistant is brought back without waiting for its own verdict.

| state and event                                                       | next state, outcome                        |
|-----------------------------------------------------------------------|--------------------------------------------|
| idle: the assistant was not silenced, or that is not ours to decide   |                                            |
| - `silenced`: by our detector, because the caller speaks              | speaking                                   |
| - `silenced` when it has ended already, and was short                 | quiet                                      |
| - `silenced` when it was long, or had `words` other than those below  | idle                                       |
| speaking: the caller speaks, or may do so again                       |                                            |
| - `ended` after `longest_s` or less                                   | quiet                                      |
| - `ended` after more                                                  | idle                                       |
| - `rejected`, when speech had ended before                            | quiet                                      |
| - `words` other than those of an agreement                            | idle                                       |
| quiet: so far it was short, and nothing follows                       |                                            |
| - `speaks`: the detector suspects or is sure that the caller speaks   | speaking                                   |
| - `words` other than those of an agreement                            | idle                                       |
| - `wait_s` after its end, it is known for an agreement (see below)    | returned, BRING_BACK                       |
| returned: the assistant has been brought back                         |                                            |
| - `words` other than those of an agreement: it was a mistake          | idle, CUT_AGAIN                            |
| any: `over`, the assistant or the fence has decided                   | idle                                       |

Speaking and quiet last no longer than the fence or barge-in wait for the assistant to agree, returned no longer than
the fence is in its state of that name: each of these has a deadline, and `over` follows.

Speech is known for an agreement
- by its words. Each transcript since the assistant was silenced has to be one.
- by the lack of a reaction: the assistant talks on, and has sent no words although it would have by now. That is after
  `REACTION_MARGIN` times the longest of its last `REACTIONS` delays from the beginning of speech to its first words,
  and after `REACTION_DUE_S` at least. For an assistant that has sent no words in this call, its message that it was
  interrupted counts in their place. Of one that has sent neither, it is never known.
- with evidence "silence", as soon as the assistant talks on, whether it transcribes or not.

"Stop" is as short as "uh-huh", and the assistant needs up to a second to notice either. Therefore only words, or the
lack of a reaction that is due, bring it back in the ordinary case: a pause of two seconds is better than an assistant
that talks on when it was told to stop.
"""

import unicodedata
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

REACTIONS = 5
"""An assistant does not change within a few sentences, but one delay may be odd."""
REACTION_MAX_S = 2.0
"""What comes later is about something else."""
WORDS_MIN_S = 0.3
"""Words that come sooner are about what was said before."""
REACTION_DUE_S = 1.0
"""An assistant needs so long at times, however fast it was before."""
REACTION_MARGIN = 1.25
LOOK_AGAIN_S = 0.1
"""While the assistant is silent it cannot be said that it talks on; it may be within a sentence."""
LONGEST_LETTERS = 40
"""A longer text is no agreement."""

Evidence = Literal["off", "words", "silence"]

AGREEMENT_WORDS = (
    *("uh-huh", "mm-hmm", "mhm", "mm", "hmm", "aha", "yes", "yeah", "yep", "ok", "okay", "right", "all right", "sure"),
    *("i see", "got it"),
)


class AgreementState(StrEnum):
    """The states of the table above."""

    IDLE = "idle"
    SPEAKING = "speaking"
    QUIET = "quiet"
    RETURNED = "returned"


class Outcome(StrEnum):
    """What follows for the assistant, at once."""

    BRING_BACK = "bring_back"
    """Play what was cut, or end the pause."""
    CUT_AGAIN = "cut_again"
    """It was no agreement: silence the assistant as if it had not been brought back."""


@dataclass(frozen=True, slots=True)
class AgreementRules:
    """Times are seconds: see above. `phrases` are those of an agreement, in the caller's language."""

    evidence: Evidence = "words"
    longest_s: float = 0.8
    wait_s: float = 0.5
    phrases: tuple[str, ...] = AGREEMENT_WORDS


class Phrases:
    """A set of phrases, compared by their letters and digits: transcribers do not agree about "Mm-hmm"."""

    def __init__(self, phrases: Iterable[str]) -> None:
        self._phrases = {letters(phrase) for phrase in phrases} - {""}

    def make_up(self, text: str) -> bool:
        """Whether this text is one or more of the phrases, and nothing else."""
        said = letters(text)
        if not 0 < len(said) <= LONGEST_LETTERS:
            return False
        ends = {0}  # of rows of phrases from the beginning on; to try each way of splitting could take hours
        for at in range(len(said)):
            if at in ends:
                ends.update(at + len(phrase) for phrase in self._phrases if said.startswith(phrase, at))
        return len(said) in ends


def letters(text: str) -> str:
    """A text without case, spaces and punctuation. Marks stay: in many scripts they are the vowels."""
    composed = unicodedata.normalize("NFKC", text).casefold()
    return "".join(sign for sign in composed if unicodedata.category(sign)[0] in {"L", "M", "N"})


class ReactionDelays:
    """How long the assistant takes from the beginning of the caller's speech to its first reaction of one kind.

    Times are monotonic seconds. A reaction that comes within `least_s` is about something else.
    """

    def __init__(self, least_s: float = 0.0) -> None:
        self._least_s = least_s
        self._waiting_since: float | None = None
        self._delays: deque[float] = deque(maxlen=REACTIONS)

    def spoke(self, onset_at: float) -> None:
        """The caller speaks since then. Speech without a reaction may be part of what came shortly before."""
        if self._waiting_since is None or onset_at - self._waiting_since > REACTION_MAX_S:
            self._waiting_since = onset_at

    def reacted(self, now: float) -> None:
        """The assistant has reacted."""
        if self._waiting_since is None or now - self._waiting_since < self._least_s:
            return
        delay_s, self._waiting_since = now - self._waiting_since, None
        if delay_s <= REACTION_MAX_S:
            self._delays.append(delay_s)

    def due_at(self, onset_at: float) -> float | None:
        """When a reaction to this speech should have come; None if none ever came."""
        return onset_at + max(REACTION_DUE_S, REACTION_MARGIN * max(self._delays)) if self._delays else None


class Agreement:
    """Follows the table above, for one call. `now`, `onset_at` and `end_at` are monotonic seconds.

    Methods return the outcome to be carried out at once, if there is one. `goes_on`: the assistant talks on.
    """

    def __init__(self, rules: AgreementRules) -> None:
        self._rules = rules
        self._phrases = Phrases(rules.phrases)
        self._word_delays, self._stop_delays = ReactionDelays(WORDS_MIN_S), ReactionDelays()
        self.state = AgreementState.IDLE
        self.deadline: float | None = None
        """When `expire` may have something to do."""
        self._onset_at = 0.0
        self._spoken_s = 0.0
        self._end_at: float | None = None
        self._may_speak = False
        self._agreed = self._denied = False

    def is_agreement(self, text: str) -> bool:
        """Whether these words of the caller do not ask the assistant to stop."""
        return self._rules.evidence != "off" and self._phrases.make_up(text)

    def spoke(self, onset_at: float) -> None:
        """The detector is sure that the caller speaks since then, whether that silences anybody or not.

        What was recognised before says nothing about it.
        """
        self._word_delays.spoke(onset_at)
        self._stop_delays.spoke(onset_at)
        self._onset_at, self._end_at = onset_at, None
        self._agreed = self._denied = False
        self.speaks()

    def silenced(self, now: float) -> None:
        """Because of that speech, which may have ended, the assistant was cut, or paused until more is known."""
        if self._rules.evidence == "off" or self._denied:
            return
        self._enter(AgreementState.SPEAKING)
        self._look_at_end(now)

    def interrupted(self, now: float) -> None:
        """The assistant says that the caller interrupted it."""
        self._stop_delays.reacted(now)

    def speaks(self) -> None:
        """The caller may speak again."""
        self._may_speak = True
        if self.state is AgreementState.QUIET:
            self._enter(AgreementState.SPEAKING)

    def rejected(self, now: float) -> None:
        """The caller does not speak again."""
        self._may_speak = False
        self._look_at_end(now)

    def ended(self, spoken_s: float, end_at: float, now: float) -> None:
        """Speech of this length has ended."""
        self._may_speak = False
        self._spoken_s, self._end_at = spoken_s, end_at
        self._look_at_end(now)

    def _look_at_end(self, now: float) -> None:
        if self.state is not AgreementState.SPEAKING or self._end_at is None:
            return
        if self._spoken_s > self._rules.longest_s:
            self.over()
        elif not self._may_speak:
            self._enter(AgreementState.QUIET, self._next_look(now))

    def words(self, text: str, now: float) -> Outcome | None:
        """The assistant has recognised these words of the caller, all of them so far or for good."""
        if not letters(text):
            return None
        self._word_delays.reacted(now)
        if self.is_agreement(text):
            self._agreed = self._agreed or now >= self._onset_at + WORDS_MIN_S
            return self.expire(now, goes_on=False)
        self._denied = True
        was_returned = self.state is AgreementState.RETURNED
        self.over()
        return Outcome.CUT_AGAIN if was_returned else None

    def expire(self, now: float, *, goes_on: bool) -> Outcome | None:
        """Decide whether by now it is known for an agreement."""
        if self.state is not AgreementState.QUIET:
            return None
        if now >= self._known_at(goes_on=goes_on):
            self._enter(AgreementState.RETURNED)
            return Outcome.BRING_BACK
        self.deadline = self._next_look(now)
        return None

    def over(self) -> None:
        """It has been decided what the caller's speech was, or the assistant was brought back for good."""
        self._enter(AgreementState.IDLE)

    def _known_at(self, *, goes_on: bool) -> float:
        """When it is known for an agreement, if nothing changes; infinity while that is not known."""
        assert self._end_at is not None
        patient_at = self._end_at + self._rules.wait_s
        if self._agreed or (goes_on and self._rules.evidence == "silence"):
            return patient_at
        due_at = self._word_delays.due_at(self._onset_at)
        if due_at is None:
            due_at = self._stop_delays.due_at(self._onset_at)
        return max(patient_at, due_at) if goes_on and due_at is not None else float("inf")

    def _next_look(self, now: float) -> float | None:
        at = self._known_at(goes_on=True)
        if at == float("inf"):
            return None  # only words can tell
        return at if at > now else now + LOOK_AGAIN_S

    def _enter(self, state: AgreementState, deadline: float | None = None) -> None:
        self.state, self.deadline = state, deadline
