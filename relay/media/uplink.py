"""Prepares the caller's audio for the two that hear it: the assistant gets bytes, the speech detector samples."""

from collections.abc import Sequence

import numpy as np

from relay.media.denoise import Denoiser
from relay.media.echo_control import DELAY_MS, EchoControl, EchoFound, EchoGone, EchoMode
from relay.media.frames import WIDEBAND, Audio, AudioFormat, Encoding
from relay.media.resample import Samples
from relay.media.transcode import Transcoder

WAITING_MAX = 6
"""So many frames are looked at together on a line that is known to have no echo."""
_NOTHING: Samples = np.zeros(0, np.int16)


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
        self._echo_mode = echo
        self._echo = None if echo == "off" else EchoControl(echo)
        self._detector_is_wide = detector == WIDEBAND
        self._widen = Transcoder(source, WIDEBAND)
        self._widen_far = Transcoder(source, WIDEBAND)
        self._untouched = _Outlets(source, target, detector)
        self._touched = _Outlets(WIDEBAND, target, detector)
        self._in_doubt = Transcoder(WIDEBAND, detector)
        self._waiting: list[tuple[Samples, Audio | None]] = []

    @property
    def news(self) -> EchoFound | EchoGone | None:
        """What the last `push` has found out about an echo."""
        return self._echo.news if self._echo else None

    @property
    def is_plain(self) -> bool:
        """Whether the last `push` gave the assistant the caller's audio as a `Transcoder` makes it, and no more."""
        return self._denoiser is None and not (self._echo and self._echo.for_assistant)

    @property
    def echo_delay_ms(self) -> float:
        """So much later than it was recorded the detector hears a sound, because of the canceller."""
        return DELAY_MS if self._echo and self._echo.is_on else 0.0

    def new_stream(self) -> tuple[bytes, Samples]:
        """The caller's line is another one from now on: it may have another echo, or none.

        Return what waited of the one before, as `push` does.
        """
        if self._echo is None:
            return b"", _NOTHING
        rest = self._given((b"", _NOTHING), _NOTHING, self._echo.rest())
        self._echo = EchoControl(self._echo_mode)
        self._waiting.clear()
        return rest

    def push(self, audio: Audio, far: Audio | None = None) -> tuple[bytes, Samples]:
        """Return (audio for the assistant, samples for the detector), each with the delay of its own resampler.

        `far` is what was played while this was recorded, in the same format and as long; None for silence.
        """
        plain = self._untouched.push(audio) if self._denoiser is None else None
        if plain is not None and self._echo is None:
            return plain
        near = plain[1] if plain is not None and self._detector_is_wide else _samples(self._widen.push(audio))
        return self._given(plain, near, self._cancel(near, far) if self._echo else near)

    def _given(self, plain: tuple[bytes, Samples] | None, near: Samples, cleaned: Samples) -> tuple[bytes, Samples]:
        """What both get of this: `plain` without the echo control, if there is no noise reduction."""
        is_certain = self._echo is not None and self._echo.for_assistant
        if self._denoiser is not None:
            plain = self._touched.push(_wide(self._denoiser.push(cleaned if is_certain else near)))
        elif is_certain:
            return self._touched.push(_wide(cleaned))
        assert plain is not None
        if cleaned is near or is_certain:
            return plain
        return plain[0], _samples(self._in_doubt.push(_wide(cleaned)))

    def lost(self, far: Audio) -> tuple[bytes, Samples]:
        """What was recorded while this was played did not come, and nothing was put in its place.

        To the canceller it is silence: an echo keeps its delay, whatever is missing. Return what waited of what had
        come before, as `push` does.
        """
        if self._echo is None:
            return b"", _NOTHING
        cleaned = self._cancel(np.zeros(self._wide_samples(far), np.int16), far, is_lost=True)
        return self._given((b"", _NOTHING), _NOTHING, cleaned)

    def _cancel(self, near: Samples, far: Audio | None, *, is_lost: bool = False) -> Samples:
        assert self._echo is not None
        self._waiting.append((near, far))
        came, lost = (_NOTHING, len(near)) if is_lost else (near, 0)
        if self._echo.may_wait and len(self._waiting) < WAITING_MAX:
            return came
        waiting, self._waiting = self._waiting, []
        known = sum(len(samples) for samples, _ in waiting[:-1])
        played = self._played(waiting)
        if not known:
            return self._echo.push(near, played, lost=lost)
        together = np.concatenate([samples for samples, _ in waiting])
        cleaned = self._echo.push(together, played, known=known, lost=lost)
        return cleaned if self._echo.is_on else came

    def _played(self, waiting: Sequence[tuple[Samples, Audio | None]]) -> Samples:
        """What was played meanwhile, at 16 kHz."""
        count = sum(len(samples) for samples, _ in waiting)
        if all(far is None for _, far in waiting):
            return np.zeros(count, np.int16)
        source = self._widen_far.source
        sounds = [
            source.silence(len(near) * source.rate_hz // WIDEBAND.rate_hz * source.block_bytes)
            if far is None
            else far.data
            for near, far in waiting
        ]
        return _samples(self._widen_far.push(Audio(source, b"".join(sounds))))

    def _wide_samples(self, audio: Audio) -> int:
        source = self._widen_far.source
        return len(audio.data) // source.block_bytes * WIDEBAND.rate_hz // source.rate_hz


class _Outlets:
    """The ways from one format to assistant and detector."""

    def __init__(self, source: AudioFormat, target: AudioFormat, detector: AudioFormat) -> None:
        self._for_detector = Transcoder(source, detector)
        self._for_assistant = None if target == detector else Transcoder(source, target)

    def push(self, audio: Audio) -> tuple[bytes, Samples]:
        detector = self._for_detector.push(audio)
        assistant = detector if self._for_assistant is None else self._for_assistant.push(audio)
        return assistant.data, _samples(detector)


def _samples(audio: Audio) -> Samples:
    return np.frombuffer(audio.data, np.int16)


def _wide(samples: Samples) -> Audio:
    return Audio(WIDEBAND, samples.tobytes())
