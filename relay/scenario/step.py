"""The steps of a scenario, as values. Times are seconds."""

from dataclasses import dataclass

from relay.scenario.sounds import CallSound


@dataclass(frozen=True, slots=True)
class DialStep:
    """The call is placed, and its media stream opened: the first step of each scenario, which no script holds."""


@dataclass(frozen=True, slots=True)
class SayStep:
    """The caller says this, to its end; with `interrupts`, once the assistant speaks."""

    sound: CallSound
    interrupts: bool = False


@dataclass(frozen=True, slots=True)
class EchoStep:
    """From now on the line has an echo of what the caller hears."""

    loss_db: float
    delay_s: float


@dataclass(frozen=True, slots=True)
class EchoOffStep:
    """From now on the line has none."""


@dataclass(frozen=True, slots=True)
class WaitStep:
    """Time passes."""

    seconds: float


@dataclass(frozen=True, slots=True)
class PressStep:
    """The caller presses keys, one after the other."""

    keys: str


@dataclass(frozen=True, slots=True)
class DropStep:
    """The media socket is lost by a TCP reset, and attached again."""


@dataclass(frozen=True, slots=True)
class HangUpStep:
    """The caller hangs up."""


@dataclass(frozen=True, slots=True)
class SilenceWithin:
    """The assistant falls silent so soon after the caller's sound began."""

    within_s: float


@dataclass(frozen=True, slots=True)
class SilenceFor:
    """Nothing is heard for so long: from now on, or within this time."""

    seconds: float
    within_s: float | None = None


@dataclass(frozen=True, slots=True)
class SpeechFor:
    """The assistant is heard so long, pauses left out, within this time."""

    seconds: float
    within_s: float


@dataclass(frozen=True, slots=True)
class AnswerWithin:
    """Something new is heard so soon after the caller's sound ended, and it is not `sentence`."""

    within_s: float
    sentence: CallSound | None = None


@dataclass(frozen=True, slots=True)
class RestWithin:
    """The assistant goes on with `sentence` so soon after the caller's sound ended, and nothing of it is missing."""

    sentence: CallSound
    within_s: float


@dataclass(frozen=True, slots=True)
class NoCutFor:
    """What the caller did does not end what the assistant says, until so long from now; `sentence` is what it says."""

    seconds: float
    sentence: CallSound | None = None


@dataclass(frozen=True, slots=True)
class EndWithin:
    """The other side ends the call."""

    within_s: float


@dataclass(frozen=True, slots=True)
class TransferWithin:
    """The caller is connected to this number or SIP address."""

    destination: str
    within_s: float


CallerStep = DialStep | SayStep | EchoStep | EchoOffStep | WaitStep | PressStep | DropStep | HangUpStep
Expectation = SilenceWithin | SilenceFor | SpeechFor | AnswerWithin | RestWithin | NoCutFor | EndWithin | TransferWithin


@dataclass(frozen=True, slots=True)
class ScriptLine:
    """One step, where it stands in the script (from 1), and as it is written there."""

    number: int
    text: str
    step: CallerStep | Expectation
