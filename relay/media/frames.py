"""Defines audio formats, and chunks of audio that carry theirs with them."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from msgspec import Struct

from relay.errors import FormatMismatch

FRAME_MS = 20
"""The usual packet of telephony (RFC 3551, section 4.2), and what Twilio sends in one message."""
FRAMES_PER_SECOND = 1000 // FRAME_MS


class Encoding(StrEnum):
    """The ways to write a sample, under their names in the configuration and on the wire."""

    MULAW = "mulaw"
    PCM_S16LE = "pcm_s16le"
    PCM_F32LE = "pcm_f32le"


_SAMPLE_BYTES = {Encoding.MULAW: 1, Encoding.PCM_S16LE: 2, Encoding.PCM_F32LE: 4}
# Of mu-law's two zeros this is the positive one, which encoding a 0 gives.
_SILENT_BYTE = {Encoding.MULAW: b"\xff", Encoding.PCM_S16LE: b"\x00", Encoding.PCM_F32LE: b"\x00"}


@dataclass(frozen=True)
class AudioFormat:
    """Says how bytes are to be heard. Channels are interleaved, samples little-endian."""

    encoding: Encoding
    rate_hz: int
    channels: int = 1

    @cached_property
    def block_bytes(self) -> int:
        """Bytes of one sample instant, all channels."""
        return _SAMPLE_BYTES[self.encoding] * self.channels

    @cached_property
    def frame_bytes(self) -> int:
        """Bytes of one 20 ms frame."""
        return self.rate_hz * FRAME_MS // 1000 * self.block_bytes

    @cached_property
    def silent_frame(self) -> bytes:
        """20 ms of digital silence."""
        return self.silence(self.frame_bytes)

    def silence(self, n_bytes: int) -> bytes:
        """Return so many bytes of digital silence."""
        return _SILENT_BYTE[self.encoding] * n_bytes

    def duration_ms(self, n_bytes: int) -> float:
        """Return how long so many bytes sound."""
        return n_bytes / self.block_bytes * 1000 / self.rate_hz

    def __str__(self) -> str:
        return f"{self.encoding} {self.rate_hz} Hz x{self.channels}"


class Audio(Struct, frozen=True, gc=False):
    """A chunk of a stream, with its format. It may be of any length, and cut anywhere, even within a sample.

    A struct, as others of which each frame needs some: a frozen dataclass takes five times as long to be made.
    """

    format: AudioFormat
    data: bytes

    @property
    def duration_ms(self) -> float:
        return self.format.duration_ms(len(self.data))

    def expect(self, wanted: AudioFormat) -> bytes:
        """Return the bytes. Raises `FormatMismatch` if they are not of the format wanted."""
        if self.format is not wanted and self.format != wanted:
            raise FormatMismatch(f"got {self.format}, this stage takes {wanted}: resample it first")
        return self.data


TELEPHONE = AudioFormat(Encoding.MULAW, 8000)
"""Twilio Media Streams, both ways."""
WIDEBAND = AudioFormat(Encoding.PCM_S16LE, 16000)
"""The format of assistants, browsers and the speech model, if nothing else is said."""
