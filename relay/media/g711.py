"""Encodes and decodes mu-law (PCMU), as ITU-T G.711 section 3.2 with tables 2a and 2b defines it, by table look-up.

Samples are 16-bit, as everywhere in telephony software: the standard's 14-bit values times four. A sample that lies
exactly on a decision value takes the interval further from zero. The two codes of zero, 0xFF and 0x7F, both decode
to 0, and 0 encodes to 0xFF; every other code comes back unchanged from decode and encode.
"""

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]

_BIAS = 33 * 4  # added to a magnitude so that each segment begins at a power of two
_CLIP = 8158 * 4 + 3  # the largest magnitude that, with the bias, still fits the 8 segments

SILENCE_PEAK = 164
"""-46 dBFS: over the samples of comfort noise and of an idle line, under the peaks of any speech worth hearing."""


def _decode_table() -> Samples:
    code = ~np.arange(256, dtype=np.uint8)
    segment, interval = (code >> 4) & 7, (code & 15).astype(np.int32)
    magnitude = ((interval * 8 + _BIAS) << segment) - _BIAS
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _encode_table() -> NDArray[np.uint8]:
    sample = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
    magnitude = np.minimum(np.abs(sample), _CLIP) + _BIAS
    segment = np.frexp(magnitude)[1] - 8  # the exponent: segment 0 begins at 128
    interval = (magnitude >> (segment + 3)) & 15
    sign = np.where(sample < 0, 0x80, 0)
    code: NDArray[np.uint8] = (~(sign | segment << 4 | interval)).astype(np.uint8)
    return code


_DECODE = _decode_table()
_ENCODE = _encode_table()
_QUIET_CODES = bytes(code for code in range(256) if abs(int(_DECODE[code])) <= SILENCE_PEAK)


def decode(mulaw: bytes) -> Samples:
    """Return one int16 sample for each byte."""
    return _DECODE.take(np.frombuffer(mulaw, np.uint8))


def encode(samples: Samples) -> bytes:
    """Return one byte for each int16 sample; magnitudes over 32635 saturate."""
    return _ENCODE.take(samples.view(np.uint16)).tobytes()


def is_silent(mulaw: bytes) -> bool:
    """True if no sample is louder than `SILENCE_PEAK`. Empty audio is silent. Nothing is decoded."""
    return not mulaw.translate(None, _QUIET_CODES)
