"""Checks that a recorded call holds what a report is made of: whoever has made or changed a file may have left it out.

The checks of `relay.record.recorded_call` are about all that reads recordings; a replay needs nothing of these.
"""

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from relay.errors import NotARecording
from relay.media.frames import Encoding
from relay.record.entries import BufferTarget, FromCaller, PingAnswered, SpeechScore, Timed, ToCaller, Told
from relay.record.recorded_call import CALL_MAX_S, RecordedCall

CALL_MAX_MS = CALL_MAX_S * 1000

Milliseconds = Annotated[float, Meta(ge=-CALL_MAX_MS, le=CALL_MAX_MS)]
Whole = Annotated[int, Meta(ge=-(2**31), le=2**31)]
TARGET_MAX_MS = 65_535
"""A longer buffer is none that a relay has."""
AUDIBLE = {Encoding.MULAW, Encoding.PCM_S16LE}


class _Flushed(Struct):
    turn: Whole
    by: str
    onset_to_clear_ms: Milliseconds
    decide_to_clear_ms: Milliseconds
    flushed_ms: Milliseconds


class _Silent(Struct):
    turn: Whole
    clear_to_silent_ms: Milliseconds


class _OfTurn(Struct):
    turn: Whole


class _Resumed(Struct):
    paused_ms: Milliseconds


class _Hole(Struct):
    hole_ms: Milliseconds


class _SpeechStarted(Struct):
    onset_ms: Milliseconds
    likely_ms: Milliseconds
    decided_ms: Milliseconds


class _SpeechEnded(Struct):
    at_ms: Milliseconds
    decided_ms: Milliseconds


class _AssistantBack(Struct):
    gap_ms: Milliseconds
    attempt: Whole
    replayed_ms: Milliseconds = 0
    dropped_ms: Milliseconds = 0


class _CallerBack(Struct):
    gap_ms: Milliseconds
    replayed_ms: Milliseconds = 0


class _BrowserBack(Struct):
    away_ms: Milliseconds


class _GivenUp(Struct):
    attempts: Whole


class _Failed(Struct):
    code: str
    error: str


class _Granted(Struct):
    granted: Annotated[str, Meta(pattern=r"^(mulaw|pcm_s16le) [1-9][0-9]{3,4} ")]


class _EndOfCall(Struct):
    reason: str
    frames_stale: Whole


class _Webhook(Struct):
    assistant_call_id: str | None = None
    ended_reason: str | None = None
    cost_usd: Annotated[float, Meta(ge=-1e9, le=1e9)] | None = None


class _Words(Struct):
    role: str
    text: str


_SHAPES: Mapping[str, type[Struct]] = {
    "bargein.flushed": _Flushed,
    "bargein.silent": _Silent,
    "bargein.settled": _OfTurn,
    "bargein.false": _OfTurn,
    "bargein.resumed": _Resumed,
    "playout.hole": _Hole,
    "speech.started": _SpeechStarted,
    "speech.ended": _SpeechEnded,
    "assistant.reconnected": _AssistantBack,
    "assistant.given_up": _GivenUp,
    "assistant.unavailable": _Failed,
    "assistant.notes_dropped": _Failed,
    "assistant.format_adopted": _Granted,
    "call.ended": _EndOfCall,
    "webhook.accepted": _Webhook,
    "webhook.joined": _Webhook,
    "transcript.partial": _Words,
    "transcript.final": _Words,
}
"""What a report reads beside an event of this name. Of the others it shows what there is."""


class _Jitter(Struct):
    target_ms: Annotated[int, Meta(ge=0, le=TARGET_MAX_MS)] = 0


class _Settings(Struct):
    jitter: _Jitter = msgspec.field(default_factory=_Jitter)


def check_reportable(call: RecordedCall) -> None:
    """Raises NotARecording, with one line that says what no call has, where no report can be made of this one."""
    if not {call.header.caller_encoding, call.header.assistant_encoding} <= AUDIBLE:
        raise NotARecording("a recording with audio that no caller hears")
    _check_plain("settings", call.header.settings, _Settings)
    for event in (*call.events, *call.after_end):
        _check_plain(event.name, event.values, _shape(event))
    for entry in call.entries:
        if not _is_possible(entry, call.caller_format.block_bytes):
            raise NotARecording(f"a recording with a {type(entry).__name__} that no call has")
    stamps_ms = [
        entry.stamp_ms for entry in call.entries if isinstance(entry, FromCaller) and entry.stamp_ms is not None
    ]
    if stamps_ms and not max(stamps_ms) - min(stamps_ms) <= CALL_MAX_MS:
        raise NotARecording("a recording with audio of the caller that is too far apart")


def _shape(event: Told) -> type[Struct]:
    if event.name == "caller.reattached":
        return _CallerBack if "gap_ms" in event.values else _BrowserBack
    return _SHAPES.get(event.name, Struct)


def _check_plain(name: str, values: Mapping[str, Any], shape: type[Struct]) -> None:
    """These must have what belongs to the shape, and can be shown."""
    try:
        msgspec.convert(values, shape)
        json.dumps(values)
    except (msgspec.ValidationError, TypeError, RecursionError) as error:
        raise NotARecording(f"a recording with {name} as no call has it: {error}") from None


def _is_possible(entry: Timed, block_bytes: int) -> bool:
    match entry:
        case FromCaller(stamp_ms=stamp_ms, data=data):
            return len(data) % block_bytes == 0 and (stamp_ms is None or math.isfinite(stamp_ms))
        case ToCaller(queued_ms=queued_ms, data=data):
            return len(data) % block_bytes == 0 and queued_ms >= 0
        case SpeechScore(probability=probability):
            return 0 <= probability <= 1
        case PingAnswered(round_trip_ms=round_trip_ms):
            return 0 <= round_trip_ms <= CALL_MAX_MS
        case BufferTarget(target_ms=target_ms):
            return 0 <= target_ms <= TARGET_MAX_MS
    return True
