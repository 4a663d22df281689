"""The entries of a recording: each is one thing that happened in a call, with its time.

`at_s` is seconds since the recording began, on the clock of the relay. In the file an entry is an array, with its
number first and its fields in their order; a later version of the program may add fields at the end of one.
"""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct


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
    generation: int = 1


class FromCaller(Struct, frozen=True, array_like=True, gc=False, tag=1):
    """Audio of the caller, in order, as it came. `stamp_ms` is the sender's time of its first sample, if it says one;
    `missing` messages of the sender are missing before it."""

    at_s: float
    stamp_ms: float | None
    missing: int
    data: bytes


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


class ToAssistant(Struct, frozen=True, array_like=True, gc=False, tag=7):
    """Audio was sent to the assistant: it is made from the caller's, so its length and CRC-32 are enough to know it."""

    at_s: float
    n_bytes: int
    crc32: int


class TextToAssistant(Struct, frozen=True, array_like=True, gc=False, tag=8):
    """A text message of this kind was sent to the assistant. Its text is made from what else is recorded, or is a key
    that the caller has pressed, which is nobody's business."""

    at_s: float
    kind: str


class TextFromAssistant(Struct, frozen=True, array_like=True, gc=False, tag=9):
    """A text message of the assistant, without secrets; `has_floor` as above."""

    at_s: float
    has_floor: bool
    text: str


class SpeechScore(Struct, frozen=True, array_like=True, gc=False, tag=10):
    """How probably the caller spoke in the window that ends at `end_ms` of their audio."""

    at_s: float
    end_ms: float
    probability: float


class Told(Struct, frozen=True, array_like=True, tag=11):
    """An event of the call under its name in the log, with what stands beside it there. What was said has its words."""

    at_s: float
    name: str
    values: Mapping[str, Any]


class RecordingEnd(Struct, frozen=True, array_like=True, gc=False, tag=12):
    """Comes last. A file without it was cut short. "full": the call went on, the recording had its greatest size."""

    at_s: float
    why: Literal["ended", "full"]


Recorded = (
    RecordingHeader
    | FromCaller
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
    | RecordingEnd
)
