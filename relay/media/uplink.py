"""Prepares the caller's audio for the two that hear it: the assistant gets bytes, the speech detector samples."""

import numpy as np

from relay.media.denoise import Denoiser
from relay.media.echo_canceller import DELAY_MS
from relay.media.echo_control import EchoFound, EchoGone, EchoMode
from relay.media.echo_feed import EchoFeed
from relay.media.frames import WIDEBAND, Audio, AudioFormat, Encoding
from relay.media.resample import Samples
from relay.media.transcode import Transcoder

_NOTHING: Samples = np.zeros(0, np.int16)
_NONE = b"", _NOTHING


class Uplink:
    """Converts the caller's mono audio to the assistant's format, and to 16 or 8 kHz samples for the detector.

    Equal formats pass untouched. What the detector needs anyway is not computed again for the assistant.

    With `reduce_noise` both get cleaned audio: everything goes through 16 kHz first, so equal formats are decoded and
    encoded again and nothing above 8 kHz is left. That adds the 6 ms of the `Denoiser` and the delay of that detour:
    telephone audio reaches the detector, or an assistant at 16 kHz, 6 ms later than without it, and an assistant that
    takes mu-law 9.5 ms later.

    `echo` says when the echo of what is played is taken out of it, as `EchoControl` does. Until an echo is certain the
    assistant gets what it gets without; from then on it takes the same detour, and 8 ms for the canceller.
    """

    def __init__(
        self,
        source: AudioFormat,
        target: AudioFormat,
        detector_rate_hz: int,
        *,
        reduce_noise: bool = False,
        echo: EchoMode = "off",
    ) -> None:
        detector = AudioFormat(Encoding.PCM_S16LE, detector_rate_hz)
        self._denoiser = Denoiser() if reduce_noise else None
        self._source = source
        self._echo = None if echo == "off" else EchoFeed(source, echo)
        self._detector_is_wide = detector == WIDEBAND
        self._widen = Transcoder(source, WIDEBAND)
        self._untouched = _Outlets(source, target, detector)
        self._touched = _Outlets(WIDEBAND, target, detector)
        self._in_doubt = Transcoder(WIDEBAND, detector)

    @property
    def news(self) -> EchoFound | EchoGone | None:
        """What the last `push` has found out about an echo."""
        return self._echo.control.news if self._echo else None

    @property
    def is_plain(self) -> bool:
        """Whether the last `push` gave the assistant the caller's audio as a `Transcoder` makes it, and no more."""
        return self._denoiser is None and not (self._echo and self._echo.control.for_assistant)

    @property
    def echo_delay_ms(self) -> float:
        """So much later than it was recorded the detector hears a sound, because of the canceller."""
        return DELAY_MS if self._echo and self._echo.control.is_on else 0.0

    def look_for_echo(self) -> None:
        """The detector hears speech, which may be an echo."""
        if self._echo is not None:
            self._echo.look_soon()

    def new_stream(self) -> tuple[bytes, Samples]:
        """The caller's line is another one from now on: it may have another echo, or none.

        Return what waited of the one before, as `push` does.
        """
        if self._echo is None:
            return _NONE
        rest = self._given(_NONE, _NOTHING, self._echo.control.rest())
        self._echo = EchoFeed(self._source, self._echo.control.mode)
        return rest

    def push(self, audio: Audio, far: Audio | None = None) -> tuple[bytes, Samples]:
        """Return (audio for the assistant, samples for the detector), each with the delay of its own resampler.

        `far` is what was played while this was recorded, in the same format and as long; None for silence.
        """
        if self._denoiser is None:
            plain = self._untouched.push(audio)
            near = plain[1] if self._detector_is_wide else None
        else:
            plain, near = _NONE, self._widen.samples(audio)
        cleaned = None
        if self._echo is not None:
            cleaned = self._echo.push(audio.data, None if far is None else far.data, near)
        if cleaned is None and self._denoiser is None:
            return plain
        return self._given(plain, near, cleaned)

    def lost(self, far: Audio) -> tuple[bytes, Samples]:
        """What was recorded while this was played did not come, and nothing was put in its place (see `EchoFeed`).

        Return what waited of what had come before, as `push` does.
        """
        return _NONE if self._echo is None else self._given(_NONE, _NOTHING, self._echo.lost(far.data))

    def _given(
        self, plain: tuple[bytes, Samples], near: Samples | None, cleaned: Samples | None
    ) -> tuple[bytes, Samples]:
        """What both get: `plain`, or with noise reduction what is made of `near`, unless `cleaned` takes its place."""
        is_certain = self._echo is not None and self._echo.control.for_assistant
        if self._denoiser is not None:
            heard = cleaned if is_certain else near
            assert heard is not None
            plain = self._touched.push(_wide(self._denoiser.push(heard)))
        elif is_certain:
            assert cleaned is not None
            return self._touched.push(_wide(cleaned))
        if cleaned is None or is_certain:
            return plain
        return plain[0], self._in_doubt.samples(_wide(cleaned))


class _Outlets:
    """The ways from one format to assistant and detector."""

    def __init__(self, source: AudioFormat, target: AudioFormat, detector: AudioFormat) -> None:
        self._for_detector = Transcoder(source, detector)
        self._for_assistant = None if target == detector else Transcoder(source, target)

    def push(self, audio: Audio) -> tuple[bytes, Samples]:
        samples = self._for_detector.samples(audio)
        if self._for_assistant is None:
            return samples.tobytes(), samples
        return self._for_assistant.push(audio).data, samples


def _wide(samples: Samples) -> Audio:
    return Audio(WIDEBAND, samples.tobytes())
