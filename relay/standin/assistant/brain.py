"""The brain decides when the assistant speaks and when it stops. Pure: it is told what happened, and answers."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Speak:
    """Say this: a phrase of the script, by name, or the caller's own last words (`phrase` None)."""

    phrase: str | None


@dataclass(frozen=True, slots=True)
class StopSpeaking:
    """Be quiet: the caller interrupts."""


@dataclass(frozen=True, slots=True)
class Script:
    """What is said, by the names of phrases.

    first: unasked (None: nothing). answers: one for each utterance of the caller; `then`: after the last of them.
    """

    first: str | None
    answers: tuple[str, ...] = ()
    then: Speak | None = field(default_factory=lambda: Speak(None))


@dataclass(slots=True)
class Brain:
    """A conversation by a script.

    The caller interrupts by speaking while the assistant does, except during a first message that may not be
    interrupted, or when it never agrees to be. What is said during such a first message is answered behind it; what is
    said to one that never agrees is not answered.
    """

    script: Script
    speaks_first: bool
    first_is_interruptible: bool
    agrees: bool
    answers_interruptions: bool
    _speaking: bool = False
    _in_first: bool = False
    _ignoring: bool = False
    _answered: int = 0

    def begin(self) -> Speak | None:
        """The call has begun: the first message, unless the caller is to speak first."""
        if not self.speaks_first or self.script.first is None:
            return None
        self._in_first = self._speaking = True
        return Speak(self.script.first)

    def begin_again(self) -> Speak | None:
        """It was told to say the first message."""
        if self.script.first is None:
            return None
        self._speaking = True
        return Speak(self.script.first)

    def finished_speaking(self, *, more: bool = False) -> None:
        """What was being said has been heard; `more` is to be said."""
        self._in_first = False
        self._speaking = more

    def was_told(self, role: str) -> None:
        """A message of the conversation so far: what the caller said in it has had its answer."""
        self._answered += role == "user"

    def spoke_up(self) -> None:
        """It was made to speak, by a control message."""
        self._speaking = True

    def user_started(self) -> StopSpeaking | None:
        """The caller has begun to speak."""
        if not self._speaking:
            self._ignoring = False
            return None
        self._ignoring = not (self.agrees and self.answers_interruptions)
        talks_on = not self.agrees or (self._in_first and not self.first_is_interruptible)
        return None if talks_on else StopSpeaking()

    def user_stopped(self) -> Speak | None:
        """The caller has finished an utterance."""
        if self._ignoring:
            self._ignoring = False
            return None
        answers = self.script.answers
        speak = Speak(answers[self._answered]) if self._answered < len(answers) else self.script.then
        self._answered += 1
        self._speaking = speak is not None
        return speak
