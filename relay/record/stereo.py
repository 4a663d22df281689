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
    """Frames that follow each other without a gap, and are whole, are copied together."""
    samples_per_ms = audio_format.rate_hz / 1000
    rest = iter(frames)
    while some := list(islice(rest, DECODED_FRAMES)):
        starts_ms, ends_ms, data = (list(column) for column in zip(*some, strict=True))
        samples = _decoded(b"".join(data), audio_format.encoding)
        lengths = np.array([len(it) // audio_format.block_bytes for it in data])
        begins = np.maximum(0, np.round(np.array(starts_ms) * samples_per_ms)).astype(int)
        until = np.minimum(len(side), np.round(np.array(ends_ms) * samples_per_ms))
        ends = np.minimum(begins + lengths, until).astype(int)
        froms = np.cumsum(lengths) - lengths
        goes_on = (begins[1:] == ends[:-1]) & (ends[:-1] - begins[:-1] == lengths[:-1])
        firsts = np.flatnonzero(np.concatenate(([True], ~goes_on)))
        for first, last in zip(firsts, [*firsts[1:] - 1, len(some) - 1], strict=True):
            begin, length = begins[first], ends[last] - begins[first]
            if length > 0:
                side[begin : begin + length] = samples[froms[first] : froms[first] + length]


def _decoded(data: bytes, encoding: Encoding) -> Samples:
    return g711.decode(data) if encoding is Encoding.MULAW else np.frombuffer(data, "<i2").astype(np.int16, copy=False)
