"""An event is one line of the story: it comes from the daemon's log, the assistant's messages or the telephone."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Who = Literal["caller", "phone", "relay", "assistant"]
Tone = Literal["plain", "speech", "stop", "trouble"]

_SETTLED = {"new_turn": "a new turn begins", "expired": "the old turn has run out", "end": "the call is over"}


@dataclass(frozen=True, slots=True)
class DemoEvent:
    """Something that happened. `at_s` is on trio's clock; `tone` is how it is drawn."""

    at_s: float
    who: Who
    text: str
    tone: Tone = "plain"


def wall_s(record: Mapping[str, Any]) -> float:
    """The time of a line of the daemon's log, in seconds since 1970."""
    return datetime.fromisoformat(str(record["timestamp"])).timestamp()


def from_log(record: Mapping[str, Any], at_s: float) -> DemoEvent | None:
    """Tell a line of the daemon's log, if it belongs into the story or is a warning or an error; None for others."""
    told = _log_text(str(record.get("event")), record)
    if told is not None:
        return DemoEvent(at_s, "relay", *told)
    if record.get("level") in ("warning", "error", "critical"):
        values = {k: v for k, v in record.items() if k not in ("timestamp", "level", "event", "call_id", "exception")}
        return DemoEvent(at_s, "relay", f"{record.get('event')} {values}", "trouble")
    return None


def _log_text(name: str, record: Mapping[str, Any]) -> tuple[str, Tone] | None:
    match name:
        case "call.started":
            return "the phone rings: a call slot is taken", "plain"
        case "assistant.dialing":
            return "dialling the assistant", "plain"
        case "assistant.ready":
            return "the assistant is connected", "plain"
        case "caller.attached":
            return "the caller's media stream is attached", "plain"
        case "speech.started":
            return f"speech detected, {record['decided_ms'] - record['onset_ms']} ms of it were enough", "speech"
        case "speech.ended":
            return f"end of speech, {record['decided_ms'] - record['at_ms']} ms of silence were enough", "plain"
        case "bargein.flushed":
            return f"stopped turn {record['turn']}: clear sent, {record['flushed_ms']:.0f} ms flushed", "stop"
        case "bargein.silent":
            return f"Twilio confirms: silent {record['clear_to_silent_ms']:.0f} ms after clear", "stop"
        case "bargein.resumed":
            return f"not speech after all: playback resumed after {record['paused_ms']} ms", "stop"
        case "bargein.false":
            return "a false alarm: what was held is played", "stop"
        case "bargein.settled":
            return f"the interruption is settled: {_SETTLED.get(record['by'], record['by'])}", "plain"
        case "assistant.lost":
            return f"the assistant is lost: {record['error']}", "trouble"
        case "assistant.reconnected":
            return (
                f"reconnected after {record['gap_ms']:.0f} ms: {record['replayed_ms']:.0f} ms of the caller's audio"
                f" to replay, {record['dropped_ms']:.0f} ms dropped"
            ), "stop"
        case "caller.lost":
            return f"the caller's media stream is lost: {record['error']}", "trouble"
        case "caller.reattached":
            return f"the caller is back after {record['gap_ms']:.0f} ms", "stop"
        case "playout.hole":
            return f"a hole of {record['hole_ms']:.0f} ms in the playback", "trouble"
        case "call.ended":
            return f"the call is over: {record['reason']}", "plain"
    return None


def from_message(message: Mapping[str, Any], at_s: float, *, outgoing: bool) -> DemoEvent | None:
    """Tell a text message on the assistant's socket, `outgoing` when the assistant sent it; None for most."""
    if not outgoing:
        kind = message.get("type")
        return DemoEvent(at_s, "assistant", "was told that the call ends") if kind in ("end-call", "hangup") else None
    match message:
        case {"type": "speech-update", "role": "user", "status": "started"}:
            return DemoEvent(at_s, "assistant", "hears the caller speak")
        case {"type": "speech-update", "role": "assistant", "status": "started", "turn": turn}:
            return DemoEvent(at_s, "assistant", f"sends its first audio of exchange {turn}")
        case {"type": "user-interrupted"}:
            return DemoEvent(at_s, "assistant", "noticed it as well: user-interrupted", "stop")
        case {"type": "speech-update", "role": "assistant", "status": "stopped"}:
            return DemoEvent(at_s, "assistant", "has sent its last audio")
        case {"type": "transcript", "role": "user", "transcriptType": "partial", "transcript": text}:
            return DemoEvent(at_s, "assistant", f'partial: "{text} ..."')
        case {"type": "transcript", "role": "user", "transcriptType": "final", "transcript": text}:
            return DemoEvent(at_s, "assistant", f'final: "{text}"')
    return None


def from_phone(kind: str, detail: Mapping[str, Any], at_s: float) -> DemoEvent | None:
    """Tell a `PhoneEvent`."""
    match kind:
        case "stream.started":
            return DemoEvent(at_s, "phone", "media stream open: signed, with a one-time token")
        case "clear":
            return DemoEvent(at_s, "phone", f"clear received, {detail['n_bytes'] / 8:.0f} ms thrown away", "stop")
        case "warning":
            return DemoEvent(at_s, "phone", f"warning {detail['detail']}", "trouble")
        case "stream.ended":
            return DemoEvent(at_s, "phone", f"media stream {detail['how']}")
    return None
