"""The caller's audio, once decoded, twice used: as bytes for the assistant, as samples for the speech detector."""

import numpy as np
from numpy.typing import NDArray

from relay.media.frames import Audio, AudioFormat, Encoding
from relay.media.transcode import Transcoder


class Uplink:
    """From the caller's mono format to the assistant's, and to 16 or 8 kHz samples for the detector.

    Equal formats pass untouched. What the detector needs anyway is not computed again for the assistant.
    """

    def __init__(self, source: AudioFormat, target: AudioFormat, detector_rate_hz: int) -> None:
        self._detector_format = AudioFormat(Encoding.PCM_S16LE, detector_rate_hz)
        self._for_detector = Transcoder(source, self._detector_format)
        self._shared = target == self._detector_format
        self._for_assistant = Transcoder(source, target)

    def push(self, audio: Audio) -> tuple[bytes, NDArray[np.int16]]:
        """(audio for the assistant, samples for the detector), each with the delay of its own resampler."""
        detector = self._for_detector.push(audio).data
        assistant = detector if self._shared else self._for_assistant.push(audio).data
        return assistant, np.frombuffer(detector, np.int16)
