"""The entries of a recording: each is one thing that happened in a call, with its time.

`at_s` is seconds since the recording began, on the clock of the relay. In the file an entry is an array, with its
number first and its fields in their order; a later version of the program may add fields at the end of one.
"""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

ENTRY_BYTES = 128
"""What an entry takes in memory beside its audio or text, roughly."""


class RecordingHeader(Struct, frozen=True, array_like=True, tag=0):
    """Comes first. `began_at` is the machine's time in seconds since 1970; an encoding is one of `media.frames`.

    `settings` are the tables of the configuration that decide about audio, of its `generation` in that process. None of
    them holds a secret.
    """

    program_version: str
    call_id: str
    call_sid: str
    began_at: float
    caller_encoding: str
    caller_rate_hz: int
    assistant_encoding: str
    assistant_rate_hz: int
    settings: Mapping[str, Any]
    clock_s: float | None = None
    """The time of the relay's clock at which the recording began, to the last bit. None: by a version of the program
    that took down too little for a replay."""
    goes_on: bool = False
    """Another process had the call before."""
    generation: int = 1


class FromCaller(Struct, frozen=True, array_like=True, gc=False, tag=1):
    """Audio of the caller, in order, as it came. `stamp_ms` is the sender's time of its first sample, if it says one;
    `missing` messages of the sender are missing before it."""

    at_s: float
    stamp_ms: float | None
    missing: int
    data: bytes
    used_s: float | None = None
    """When it was used, if it had to wait for its turn."""


class ToCaller(Struct, frozen=True, array_like=True, gc=False, tag=2):
    """A frame was handed to the caller's socket. It ends at `position_ms` of all that was sent, as the marks count;
    `queued_ms` of audio waited behind it."""

    at_s: float
    turn: int
    position_ms: int
    audible: bool
    queued_ms: int
    data: bytes


class MarkSent(Struct, frozen=True, array_like=True, gc=False, tag=3):
    """The caller's side was asked to tell when it has played all before this."""

    at_s: float
    turn: int
    position_ms: int


class MarkReturned(Struct, frozen=True, array_like=True, gc=False, tag=4):
    """It has played all before that mark, or has forgotten it at a `clear`."""

    at_s: float
    turn: int
    position_ms: int


class ClearSent(Struct, frozen=True, array_like=True, gc=False, tag=5):
    """The caller's side was told to forget what it had not played."""

    at_s: float


class FromAssistant(Struct, frozen=True, array_like=True, gc=False, tag=6):
    """Audio of the assistant, as it came. `has_floor`: it was used, and not only overheard."""

    at_s: float
    has_floor: bool
    data: bytes
    connection: int = 0


class ToAssistant(Struct, frozen=True, array_like=True, gc=False, tag=7):
    """Audio was sent to the assistant: it is made from the caller's, so its length and CRC-32 are enough to know it."""

    at_s: float
    n_bytes: int
    crc32: int
    connection: int = 0


class TextToAssistant(Struct, frozen=True, array_like=True, gc=False, tag=8):
    """A text message of this kind was sent to the assistant. Its text is made from what else is recorded, or is a key
    that the caller has pressed, which is nobody's business."""

    at_s: float
    kind: str
    connection: int = 0


class TextFromAssistant(Struct, frozen=True, array_like=True, gc=False, tag=9):
    """A text message of the assistant, without secrets; `has_floor` as above."""

    at_s: float
    has_floor: bool
    text: str
    connection: int = 0


class SpeechScore(Struct, frozen=True, array_like=True, gc=False, tag=10):
    """How probably the caller spoke in the window that ends at `end_ms` of their audio."""

    at_s: float
    end_ms: float
    probability: float
    voice_bound: float | None = None
    """The cough probe's bound on the log-odds of a voice, if there is a probe."""


class Told(Struct, frozen=True, array_like=True, tag=11):
    """An event of the call under its name in the log, with what stands beside it there. What was said has its words."""

    at_s: float
    name: str
    values: Mapping[str, Any]


class RecordingEnd(Struct, frozen=True, array_like=True, gc=False, tag=12):
    """Comes last. A file without it was cut short. "full": the call went on, the recording had its greatest size."""

    at_s: float
    why: Literal["ended", "full"]


class ToldAfterEnd(Struct, frozen=True, array_like=True, tag=33):
    """An event of this call as `Told`, which came when the file was closed already, and stands in a part of its own.
    `told_at` is the machine's time in seconds since 1970."""

    told_at: float
    call_id: str
    name: str
    values: Mapping[str, Any]


class SpeechSkipped(Struct, frozen=True, array_like=True, gc=False, tag=13):
    """The model gave no answer for the next window: it was too slow, or failed."""

    at_s: float


class CallerLent(Struct, frozen=True, array_like=True, gc=False, tag=14):
    """A socket of the caller was lent to the call. `joins_frames`: a message to it may hold more than one."""

    at_s: float
    joins_frames: bool


class CallerSocketGone(Struct, frozen=True, array_like=True, gc=False, tag=15):
    """The socket of the caller broke off with this error; None: its endpoint took it back."""

    at_s: float
    error: str | None


class CallerOutboxGone(Struct, frozen=True, array_like=True, gc=False, tag=26):
    """What was to be sent to the caller could not be queued any more."""

    at_s: float


class CallerNote(Struct, frozen=True, array_like=True, gc=False, tag=16):
    """The caller's side did something else. `text` is the cause of what was "dropped", or the code and the text of a
    message that is "malformed" or "unsupported", or the code by which a key was lost."""

    at_s: float
    what: Literal["key", "hung_up", "dropped", "malformed", "unsupported"]
    text: tuple[str, ...] = ()


class ReattachAsked(Struct, frozen=True, array_like=True, gc=False, tag=17):
    """It was asked whether the caller's stream may be attached again."""

    at_s: float


class ToldToEnd(Struct, frozen=True, array_like=True, gc=False, tag=18):
    """Somebody outside of the call ended it, for this reason."""

    at_s: float
    reason: str


class ToldByWebhook(Struct, frozen=True, array_like=True, gc=False, tag=28):
    """The provider told of one of its calls with the assistant. `joined`: another process took the message."""

    at_s: float
    kind: str
    assistant_call_id: str | None
    ended_reason: str | None
    joined: bool
    cost_usd: float | None = None


class AskedByWebhook(Struct, frozen=True, array_like=True, gc=False, tag=32):
    """The assistant has asked by a webhook to connect the caller to this destination; None: to hang up."""

    at_s: float
    destination: str | None


class Dialled(Struct, frozen=True, array_like=True, gc=False, tag=19):
    """A call with an assistant was created. Connections are numbered from 1, in the order in which they were begun."""

    at_s: float
    connection: int
    call_id: str
    encoding: str
    rate_hz: int


class DialRefused(Struct, frozen=True, array_like=True, gc=False, tag=20):
    """It could not be created; see `errors.AssistantUnavailable`."""

    at_s: float
    connection: int
    error: str
    code: str
    retriable: bool
    locked_out_s: float


class AssistantConnected(Struct, frozen=True, array_like=True, gc=False, tag=21):
    """The socket of that connection stands."""

    at_s: float
    connection: int


class AssistantGone(Struct, frozen=True, array_like=True, gc=False, tag=22):
    """It broke off, was closed, or came to nothing."""

    at_s: float
    connection: int
    error: str
    close_code: int | None


class Woke(Struct, frozen=True, array_like=True, gc=False, tag=23):
    """A wait of the call that has a name was over, see `relay.wakeup`."""

    at_s: float
    name: str


class OpinionGiven(Struct, frozen=True, array_like=True, gc=False, tag=24):
    """The operator's classifier was asked: what it said, and how probable that is; None: late, or failed."""

    at_s: float
    interrupts: bool
    probability: float | None


class ManyCalls(Struct, frozen=True, array_like=True, gc=False, tag=25):
    """From now on the process carries many calls, or few: with many, frames share messages."""

    at_s: float
    many: bool


class CallStood(Struct, frozen=True, array_like=True, tag=27):
    """How the call stood when the recording began: it comes before anything else that happened. `state` is the
    `CallRecord` of a new call, or of one that another process had, with times of the relay's clock, and without tokens
    and what is known of the caller."""

    at_s: float
    state: Mapping[str, Any]


class BufferTarget(Struct, frozen=True, array_like=True, gc=False, tag=29):
    """From now on so much of the assistant's audio is to wait before it is played; at first what is configured."""

    at_s: float
    target_ms: int


class ClockSeen(Struct, frozen=True, array_like=True, gc=False, tag=30):
    """The machine stalled within a step, which an entry begins that is something from outside or the end of a wait:
    the clock had gone on by more than the entries say when a task looked at it for the `looks`-th time in this step.
    `task` is its name in the program; "" is one that works for many calls."""

    at_s: float
    task: str
    looks: int


class PingAnswered(Struct, frozen=True, array_like=True, gc=False, tag=31):
    """The assistant's side has answered a ping on this connection, after so long."""

    at_s: float
    connection: int
    round_trip_ms: float


Timed = (
    FromCaller
    | ToCaller
    | MarkSent
    | MarkReturned
    | ClearSent
    | FromAssistant
    | ToAssistant
    | TextToAssistant
    | TextFromAssistant
    | SpeechScore
    | Told
    | SpeechSkipped
    | CallerLent
    | CallerSocketGone
    | CallerNote
    | ReattachAsked
    | ToldToEnd
    | ToldByWebhook
    | AskedByWebhook
    | Dialled
    | DialRefused
    | AssistantConnected
    | AssistantGone
    | Woke
    | OpinionGiven
    | ManyCalls
    | CallerOutboxGone
    | CallStood
    | BufferTarget
    | ClockSeen
    | PingAnswered
)
"""What happened in the call."""
Recorded = RecordingHeader | Timed | RecordingEnd


def happened_s(entry: Timed) -> float:
    """When the call acted on it."""
    return entry.used_s if isinstance(entry, FromCaller) and entry.used_s is not None else entry.at_s
