"""Tells silence and comfort noise from audio that is worth hearing."""

from collections.abc import Callable

import numpy as np

from relay.errors import FormatMismatch
from relay.media import g711
from relay.media.frames import AudioFormat, Encoding


def silence_test(audio_format: AudioFormat) -> Callable[[bytes], bool]:
    """Return a function that is true of whole samples of this format if none is louder than `g711.SILENCE_PEAK`.

    Empty audio is silent. Raises `FormatMismatch` for floating point, which no caller is sent.
    """
    if audio_format.encoding is Encoding.MULAW:
        return g711.is_silent
    if audio_format.encoding is Encoding.PCM_S16LE:
        return _is_silent_s16
    raise FormatMismatch(f"no caller hears {audio_format}")


def _is_silent_s16(pcm: bytes) -> bool:
    samples = np.frombuffer(pcm, "<i2")
    return not len(samples) or (int(samples.max()) <= g711.SILENCE_PEAK and int(samples.min()) >= -g711.SILENCE_PEAK)
