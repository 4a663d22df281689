"""Prepares the caller's audio for the two that hear it: the assistant gets bytes, the speech detector samples."""

import numpy as np
from numpy.typing import NDArray

from relay.media.denoise import Denoiser
from relay.media.frames import WIDEBAND, Audio, AudioFormat, Encoding
from relay.media.transcode import Transcoder


class Uplink:
    """Converts the caller's mono audio to the assistant's format, and to 16 or 8 kHz samples for the detector.

    Equal formats pass untouched. What the detector needs anyway is not computed again for the assistant.

    With `reduce_noise` both get cleaned audio: everything goes through 16 kHz first, so equal formats are decoded and
    encoded again and nothing above 8 kHz is left. That adds the 6 ms of the `Denoiser` and the delay of that detour:
    telephone audio reaches the detector, or an assistant at 16 kHz, 6 ms later than without it, and an assistant that
    takes mu-law 9.5 ms later.
    """

    def __init__(
        self, source: AudioFormat, target: AudioFormat, detector_rate_hz: int, *, reduce_noise: bool = False
    ) -> None:
        self._detector_format = AudioFormat(Encoding.PCM_S16LE, detector_rate_hz)
        self._widen = Transcoder(source, WIDEBAND)
        self._denoiser = Denoiser() if reduce_noise else None
        if reduce_noise:
            source = WIDEBAND
        self._for_detector = Transcoder(source, self._detector_format)
        self._shared = target == self._detector_format
        self._for_assistant = Transcoder(source, target)

    def push(self, audio: Audio) -> tuple[bytes, NDArray[np.int16]]:
        """Return (audio for the assistant, samples for the detector), each with the delay of its own resampler."""
        if self._denoiser is not None:
            audio = _clean(self._widen.push(audio), self._denoiser)
        detector = self._for_detector.push(audio).data
        assistant = detector if self._shared else self._for_assistant.push(audio).data
        return assistant, np.frombuffer(detector, np.int16)


def _clean(audio: Audio, denoiser: Denoiser) -> Audio:
    return Audio(WIDEBAND, denoiser.push(np.frombuffer(audio.data, np.int16)).tobytes())
