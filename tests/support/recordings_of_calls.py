"""Recordings of calls that are made by hand, entry by entry."""

from collections.abc import Iterable
from pathlib import Path

from relay.record.entries import FromCaller, Recorded, RecordingEnd, RecordingHeader, Timed, ToCaller, Told
from relay.record.file_format import BlockEncoder, Blocks
from relay.record.keys import RecordKey
from relay.record.recorded_call import RecordedCall

FRAME = b"\x10" * 160
QUIET = b"\xff" * 160
ENDED = {"reason": "caller_hangup", "duration_s": 1.0, "frames_stale": 0}


def header(call_id: str = "call", began_at: float = 1_000_000.0, rate_hz: int = 8000) -> RecordingHeader:
    encoding = "mulaw" if rate_hz == 8000 else "pcm_s16le"
    return RecordingHeader("1", call_id, "CA1", began_at, encoding, rate_hz, "pcm_s16le", 16000, {})


def call_of(*entries: Timed, complete: bool = True, rate_hz: int = 8000) -> RecordedCall:
    """The call with these entries, in the order of time."""
    return RecordedCall(header(rate_hz=rate_hz), sorted(entries, key=lambda entry: entry.at_s), complete)


def told(at_s: float, name: str, **values: object) -> Told:
    return Told(at_s, name, values)


def attached(at_s: float = 0.0) -> Told:
    return told(at_s, "caller.attached")


def ended(at_s: float, **values: object) -> Told:
    return told(at_s, "call.ended", **{**ENDED, **values})


def spoken(began_s: float, frames: int, *, late_s: float = 0.0, stamp_ms: float = 0.0) -> list[FromCaller]:
    """Frames of the caller, the first of which begins at `began_s`: each arrives when its last sample was spoken."""
    return [
        FromCaller(began_s + (n + 1) * 0.02 + late_s, stamp_ms + n * 20.0, 0, bytes([n % 100 + 1]) * 160)
        for n in range(frames)
    ]


def sent(at_s: float, frames: int, *, turn: int = 1, position_ms: int = 0, audible: bool = True) -> list[ToCaller]:
    """Frames to the caller, sent at once in the order of their positions."""
    return [
        ToCaller(at_s + n * 1e-6, turn, position_ms + (n + 1) * 20, audible, 0, bytes([n % 100 + 1]) * 160)
        for n in range(frames)
    ]


def write_recording(
    path: Path, entries: Iterable[Recorded], head: RecordingHeader | None = None, key: RecordKey | None = None
) -> Path:
    """A whole file with these entries, and its end; sealed where there is a key."""
    encoder, file = BlockEncoder(), Blocks(key)
    blocks: list[list[Recorded]] = [[head or header()], [*entries], [RecordingEnd(99.0, "ended")]]
    path.write_bytes(file.head + b"".join(file.next(encoder.payload(block)) for block in blocks))
    return path
