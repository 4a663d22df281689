"""Decodes whole recordings to mono: WAV files of any rate and width, and samples without a header.

libsndfile decodes, by way of soundfile. It never sees a header that a stranger wrote, see `relay.media.riff`.
"""

from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from relay.errors import FormatMismatch, RecordingBroken
from relay.media.frames import Audio, AudioFormat, Encoding
from relay.media.riff import mended
from relay.media.sound import Sound, check_layout
from relay.media.transcode import Transcoder

_PIECE_BLOCKS = 65_536


class RawEncoding(StrEnum):
    """The ways to write a sample where no header says it, under libsndfile's names."""

    MULAW = "ULAW"
    ALAW = "ALAW"
    PCM_S16 = "PCM_16"


@dataclass(frozen=True, slots=True)
class RawFormat:
    """Says how bytes without a header are to be heard. Channels are interleaved."""

    encoding: RawEncoding
    rate_hz: int
    channels: int = 1
    big_endian: bool = False

    @property
    def block_bytes(self) -> int:
        """Bytes of one sample instant, all channels."""
        return self.channels * (2 if self.encoding is RawEncoding.PCM_S16 else 1)


def read_wav(path: Path) -> Sound:
    """Return a file as `decode_wav` does; there is at least one sample.

    Raises `FormatMismatch`, in one line with the path, or `OSError` if it cannot be read.
    """
    try:
        sound = decode_wav(path.read_bytes())
        if not len(sound.samples):
            raise RecordingBroken("no sample in it, wanted at least one")
    except FormatMismatch as error:
        raise type(error)(f"{path}: {error}") from None
    return sound


def decode_wav(content: bytes) -> Sound:
    """Return the samples of a WAV file: PCM of 8 to 32 bits, float of 32 or 64, A-law or mu-law, channels averaged.

    Sizes that a streaming tool left open mean: to the end. Floats beyond full scale saturate; one that is no number is
    silence. Raises `FormatMismatch` for another format, and `RecordingBroken` for a file that is cut short or
    contradicts itself.
    """
    return _decode(mended(content))


def decode_raw(content: bytes, form: RawFormat) -> Sound:
    """Return samples that have no header. Raises `FormatMismatch` for half a sample, or as `check_layout`."""
    check_layout(form.rate_hz, form.channels)
    if len(content) % form.block_bytes:
        raise FormatMismatch(f"{len(content)} bytes are no whole number of samples of {form.block_bytes} bytes")
    endian = "BIG" if form.big_endian else "LITTLE"
    raw = {"format": "RAW", "subtype": form.encoding.value, "endian": endian}
    return _decode(content, samplerate=form.rate_hz, channels=form.channels, **raw)


def _decode(content: bytes, **raw: Any) -> Sound:
    try:
        with soundfile.SoundFile(BytesIO(content), **raw) as file:
            return _mono(file)
    except soundfile.LibsndfileError as error:
        raise RecordingBroken(f"no audio that can be decoded ({error.error_string})") from None


def _mono(file: soundfile.SoundFile) -> Sound:
    floats = AudioFormat(Encoding.PCM_F32LE, file.samplerate, file.channels)
    to_mono = Transcoder(floats, AudioFormat(Encoding.PCM_S16LE, file.samplerate))
    data = bytearray()
    for piece in file.blocks(_PIECE_BLOCKS, dtype="float32", always_2d=True):
        data += to_mono.push(Audio(floats, piece.astype("<f4", copy=False).tobytes())).data
    return Sound(np.frombuffer(data, "<i2").astype(np.int16, copy=False), file.samplerate)
