"""The stand-ins convert whole recordings here: mu-law (ITU-T G.711), sampling rates, loudness; they write WAV files.

A recording is converted at once, off the media path, so quality counts and delay does not.
"""

import math
import wave
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import soxr

from relay.media.frames import AudioFormat, Encoding

Samples = npt.NDArray[np.int16]

SPEECH_HZ = 16000
_BIAS = 132
_CLIP = 32635


@cache
def _decode_table() -> Samples:
    code = ~np.arange(256, dtype=np.int32) & 0xFF  # G.711 sends all bits inverted
    magnitude = ((((code & 15) << 3) + _BIAS) << (code >> 4 & 7)) - _BIAS
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


@cache
def _encode_table() -> npt.NDArray[np.uint8]:
    sample = np.arange(-32768, 32768, dtype=np.int32)
    magnitude = np.minimum(np.abs(sample), _CLIP) + _BIAS
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    code = np.where(sample < 0, 0x80, 0) | exponent << 4 | magnitude >> exponent + 3 & 15
    return np.asarray(~code & 0xFF, np.uint8)


def mulaw_to_samples(data: bytes | bytearray) -> Samples:
    """One sample of 16 bits for each byte."""
    return _decode_table()[np.frombuffer(data, np.uint8)]


def samples_to_mulaw(samples: Samples) -> bytes:
    """One byte for each sample, rounded as G.711 does."""
    return _encode_table()[samples.astype(np.int32) + 32768].tobytes()


def decode(data: bytes | bytearray, form: AudioFormat) -> Samples:
    """Samples of mono audio; `data` must hold whole samples."""
    return mulaw_to_samples(data) if form.encoding is Encoding.MULAW else np.frombuffer(data, "<i2")


def encode(samples: Samples, rate_hz: int, form: AudioFormat) -> bytes:
    """Bytes of `form` for a whole recording made at `rate_hz`."""
    if rate_hz != form.rate_hz:
        loose = soxr.resample(samples.astype(np.float32), rate_hz, form.rate_hz)
        samples = np.clip(np.rint(loose), -32768, 32767).astype(np.int16)
    return samples_to_mulaw(samples) if form.encoding is Encoding.MULAW else samples.astype("<i2").tobytes()


def level_dbfs(samples: Samples) -> float:
    """RMS against full scale; -100 for nothing or digital silence."""
    if not len(samples):
        return -100.0
    wide = samples.astype(np.float32)
    rms = math.sqrt(float(wide @ wide) / len(wide)) / 32768
    return max(-100.0, 20 * math.log10(rms)) if rms else -100.0


def tone(hz: float, seconds: float, rate_hz: int = SPEECH_HZ, peak: float = 0.25) -> Samples:
    """A sine with 5 ms ramps at both ends."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    ramp = np.minimum(1.0, np.minimum(t, seconds - t) / 0.005)
    return cast("Samples", (np.sin(2 * np.pi * hz * t) * ramp * peak * 32767).astype(np.int16))


def write_wav(path: Path, rate_hz: int, *channels: Samples) -> None:
    """A 16-bit WAV; shorter channels end in silence."""
    together = np.zeros((max(map(len, channels)), len(channels)), "<i2")
    for column, samples in enumerate(channels):
        together[: len(samples), column] = samples
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(together.tobytes())


def lay_out(pieces: Iterable[tuple[float, Samples]], rate_hz: int) -> Samples:
    """One recording of pieces that begin at their times (seconds from 0), or where the one before ends if later."""
    out: list[Samples] = []
    length = 0
    for at_s, samples in pieces:
        gap = max(0, round(at_s * rate_hz) - length)
        out += [np.zeros(gap, np.int16), samples]
        length += gap + len(samples)
    return np.concatenate(out) if out else np.zeros(0, np.int16)
