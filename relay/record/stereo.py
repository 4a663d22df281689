"""Makes stereo sound of a recorded call: left the caller as it came, right what they really heard."""

import wave
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from relay.media import g711
from relay.media.frames import AudioFormat, Encoding
from relay.record.sides import CallSides

Samples = NDArray[np.int16]

DECODED_FRAMES = 1000
"""At a time: one by one takes twice as long, all at once several times the memory of the samples."""


def stereo(sides: CallSides) -> Samples:
    """The whole call, one row for each sample instant at the caller's rate. Where nothing was, there is silence."""
    samples_per_ms = sides.format.rate_hz / 1000
    both = np.zeros((max(0, round(sides.end_ms * samples_per_ms)), 2), np.int16)
    said = ((frame.start_ms, np.inf, frame.data) for frame in sides.said)
    heard = ((frame.start_ms, frame.end_ms, frame.data) for frame in sides.heard)
    for side, frames in enumerate((said, heard)):
        _put(both[:, side], frames, sides.format)
    return both


def write_stereo(path: Path, sides: CallSides) -> None:
    """Write that as a WAV file. Raises OSError."""
    with path.open("wb") as whole, wave.open(whole, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(sides.format.rate_hz)
        file.writeframes(stereo(sides).astype("<i2", copy=False).tobytes())


def _put(side: Samples, frames: Iterable[tuple[float, float, bytes]], audio_format: AudioFormat) -> None:
    samples_per_ms = audio_format.rate_hz / 1000
    rest = iter(frames)
    while some := list(islice(rest, DECODED_FRAMES)):
        samples = _decoded(b"".join(data for _, _, data in some), audio_format.encoding)
        at = 0
        for start_ms, end_ms, data in some:
            first, at = at, at + len(data) // audio_format.block_bytes
            begin = max(0, round(start_ms * samples_per_ms))
            end = min(len(side), begin + at - first)
            if end_ms < np.inf:
                end = min(end, round(end_ms * samples_per_ms))
            if begin < end:
                side[begin:end] = samples[first : first + end - begin]


def _decoded(data: bytes, encoding: Encoding) -> Samples:
    return g711.decode(data) if encoding is Encoding.MULAW else np.frombuffer(data, "<i2").astype(np.int16, copy=False)
