"""Converts audio from one format to another, chunk by chunk."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from relay.errors import FormatMismatch
from relay.media import g711
from relay.media.frames import Audio, AudioFormat, Encoding
from relay.media.resample import Samples, resampler


class Transcoder:
    """Turns audio of `source` into mono audio of `target`: decode, mix to mono, resample, encode.

    Equal formats are passed through: the very same bytes, no decoding. Otherwise a sample block cut in two is carried
    over to the next chunk, and the sound comes out later than it went in, by the delay of the resampler.
    """

    __slots__ = ("_block_bytes", "_decode", "_encode", "_resampler", "_same", "_target", "source")

    def __init__(self, source: AudioFormat, target: AudioFormat) -> None:
        """Raises `FormatMismatch` if `target` has more than one channel and `source` is not the same."""
        if source != target and target.channels != 1:
            raise FormatMismatch(f"cannot turn {source} into {target}: only mono is made")
        self.source = source
        self._target = target
        self._block_bytes = source.block_bytes
        self._decode = _DECODERS[source.encoding]
        self._encode = _ENCODERS[target.encoding]
        self._resampler = resampler(source.rate_hz, target.rate_hz)
        self._same = source == target

    def push(self, audio: Audio) -> Audio:
        """Return the part that is ready, perhaps empty.

        Raises `FormatMismatch` if `audio` is of another format, or no whole number of samples (see `SampleAligner`).
        """
        if self._same:
            audio.expect(self.source)
            return audio
        return Audio(self._target, self._encode(self.samples(audio)))

    def samples(self, audio: Audio) -> Samples:
        """Return the same as `push`, not encoded: for who wants to compute with it."""
        data = audio.expect(self.source)
        if len(data) % self._block_bytes:
            raise FormatMismatch(f"{len(data)} bytes are no whole number of samples of {self.source}")
        samples = self._decode(data)
        if self.source.channels > 1:
            samples = _mix(samples, self.source.channels)
        return self._resampler.push(samples)

    def reset(self) -> None:
        """Forget all audio: silence pushed after this comes out as digital silence."""
        self._resampler.reset()


def _mix(samples: Samples, channels: int) -> Samples:
    """Return the mean of the channels, rounded: as loud as each channel if all carry the same."""
    mean: NDArray[np.float64] = samples.reshape(-1, channels).mean(axis=1)
    return mean.round().astype(np.int16)


def _decode_s16(data: bytes) -> Samples:
    return np.frombuffer(data, "<i2").astype(np.int16, copy=False)


def _encode_s16(samples: Samples) -> bytes:
    return samples.astype("<i2", copy=False).tobytes()


def _decode_f32(data: bytes) -> Samples:
    """Full scale is +-1; beyond saturates; a value that is no number is silence."""
    values = np.nan_to_num(np.frombuffer(data, "<f4").clip(-1, 1)) * np.float32(32768)
    samples: Samples = values.round().clip(-32768, 32767).astype(np.int16)
    return samples


def _encode_f32(samples: Samples) -> bytes:
    return (samples / np.float32(32768)).astype("<f4").tobytes()


_DECODERS: dict[Encoding, Callable[[bytes], Samples]] = {
    Encoding.MULAW: g711.decode,
    Encoding.PCM_S16LE: _decode_s16,
    Encoding.PCM_F32LE: _decode_f32,
}
_ENCODERS: dict[Encoding, Callable[[Samples], bytes]] = {
    Encoding.MULAW: g711.encode,
    Encoding.PCM_S16LE: _encode_s16,
    Encoding.PCM_F32LE: _encode_f32,
}
