"""WAV files as tools write them, made here byte by byte, and the beginnings of files that are none."""

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from relay.media import g711

Floats = NDArray[np.float64]
STREAMED = (0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x80000000, 0)
"""What tools write for a size that they do not know yet."""
_GUID_TAIL = bytes.fromhex("0000 0000 1000 8000 00aa 0038 9b71".replace(" ", ""))


def sine(rate_hz: int, seconds: float = 0.5, hz: float = 440.0, peak: float = 0.5) -> Floats:
    return peak * np.sin(2 * np.pi * hz * np.arange(round(rate_hz * seconds)) / rate_hz)


@dataclass(frozen=True)
class SineFit:
    """The sine in a recording: `rest` is the RMS of what is not the sine, in the units of `peak`."""

    peak: float
    late_ms: float
    rest: float


def fit_sine(samples: NDArray[np.int16], rate_hz: int, hz: float = 440.0) -> SineFit:
    """Fit a sine of known frequency to all but the two ends, 50 ms each."""
    edge = rate_hz // 20
    time_s = np.arange(len(samples))[edge:-edge] / rate_hz
    heard = samples[edge:-edge].astype(float)
    basis = np.stack((np.sin(2 * np.pi * hz * time_s), np.cos(2 * np.pi * hz * time_s)), axis=1)
    (sin, cos), *_ = np.linalg.lstsq(basis, heard)
    late_ms = float(np.arctan2(-cos, sin)) / (2 * np.pi * hz) * 1000
    return SineFit(float(np.hypot(sin, cos)), late_ms, float((heard - basis @ (sin, cos)).std()))


def alaw_levels() -> NDArray[np.int64]:
    """What each A-law code means in 16 bits (ITU-T G.711, table 1a)."""
    code = np.arange(256) ^ 0x55
    segment, interval = (code >> 4) & 7, code & 15
    magnitude = np.where(segment == 0, interval * 16 + 8, (interval * 16 + 264) << np.maximum(segment - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude)


def alaw(samples: Floats) -> bytes:
    levels = alaw_levels()
    order = np.argsort(levels)
    between = (levels[order][1:] + levels[order][:-1]) / 2
    nearest = order[np.searchsorted(between, samples.ravel() * 32768)]
    return bytes(nearest.astype(np.uint8))


def mulaw(samples: Floats) -> bytes:
    return g711.encode((samples.ravel() * 32767).round().astype(np.int16))


def pcm(bits: int) -> Callable[[Floats], bytes]:
    def encode(samples: Floats) -> bytes:
        values = (samples.ravel() * 2 ** (bits - 1)).round().astype("<i4")
        if bits == 8:
            return bytes((values + 128).tolist())
        return bytes(values.view(np.uint8).reshape(-1, 4)[:, : bits // 8])

    return encode


def floats(dtype: str) -> Callable[[Floats], bytes]:
    return lambda samples: samples.ravel().astype(dtype).tobytes()


@dataclass(frozen=True)
class WavKind:
    """`step` is the coarsest quantisation of a sample, in 16-bit units."""

    tag: int
    bits: int
    encode: Callable[[Floats], bytes]
    step: float


KINDS = {
    "8 bits": WavKind(1, 8, pcm(8), 256),
    "16 bits": WavKind(1, 16, pcm(16), 1),
    "24 bits": WavKind(1, 24, pcm(24), 1),
    "32 bits": WavKind(1, 32, pcm(32), 1),
    "float": WavKind(3, 32, floats("<f4"), 1),
    "double": WavKind(3, 64, floats("<f8"), 1),
    "A-law": WavKind(6, 8, alaw, 1024),
    "mu-law": WavKind(7, 8, mulaw, 1024),
}


def layout(tag: int, channels: int, rate_hz: int, bits: int, *, extensible: bool = False, block: int = -1) -> bytes:
    """A format chunk's content."""
    block = channels * bits // 8 & 0xFFFF if block < 0 else block
    per_s = rate_hz * block & 0xFFFFFFFF
    head = struct.pack("<HHIIHH", 0xFFFE if extensible else tag, channels, rate_hz, per_s, block, bits)
    return head + struct.pack("<HHIH", 22, bits, 0, tag) + _GUID_TAIL if extensible else head


def chunk(name: bytes, content: bytes, size: int | None = None) -> bytes:
    n_bytes = len(content) if size is None else size
    return name + struct.pack("<I", n_bytes) + content + bytes(len(content) % 2)


def riff(*chunks: bytes, size: int | None = None, name: bytes = b"RIFF") -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return name + struct.pack("<I", len(body) if size is None else size) + body


def wav(
    samples: Floats, rate_hz: int, kind: str = "16 bits", *, extensible: bool = False, size: int | None = None
) -> bytes:
    """A file of samples `[n]` or `[n, channels]` of full scale +-1; `size` stands in both sizes instead of the true."""
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    of = KINDS[kind]
    form = layout(of.tag, channels, rate_hz, of.bits, extensible=extensible)
    return riff(chunk(b"fmt ", form), chunk(b"data", of.encode(samples), size), size=size)


def _mp3(frames: int = 4) -> bytes:
    """Frames of MPEG-1 layer III at 128 kbit/s and 44.1 kHz, which are 417 bytes."""
    return (b"\xff\xfb\x90\x64" + bytes(413)) * frames


def _adts(frames: int = 4) -> bytes:
    """Frames of AAC-LC at 44.1 kHz, stereo, of 256 bytes each."""
    return (bytes.fromhex("fff15080201ffc") + bytes(249)) * frames


NO_WAV = {
    "Ogg": b"OggS\0\x02" + bytes(8) + b"\x12\x34\x56\x78" + bytes(8) + b"\x01\x13OpusHead",
    "FLAC": b"fLaC\0\0\0\x22\x10\0\x10\0",
    "MP3 behind its tag": b"ID3\x04\0\0\0\0\x02\x01TSSE",
    "MP3": _mp3(),
    "AAC": _adts(),
    "WebM": bytes.fromhex("1a45dfa39f4286810142f7810142f2810442f381084282847765626d"),
    "MP4": b"\0\0\0\x1cftypiso5\0\0\x02\0iso5iso6mp41",
    "gzip": b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x63\x60",
    "multipart": b'--------ab12\r\nContent-Disposition: form-data; name="f"; filename="a.wav"\r\n\r\nRIFF',
    "JSON": b'{"audio": "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA="}',
    "base64": b"UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=",
    "AIFF": b"FORM\0\0\x10\0AIFFCOMM",
    "AU": b".snd\0\0\0\x18\xff\xff\xff\xff\0\0\0\x01\0\0\x1f\x40\0\0\0\x01",
    "AMR": b"#!AMR\n\x3c\x91",
    "big-endian WAV": b"RIFX\0\0\x10\0WAVEfmt \0\0\0\x10",
    "CAF": b"caff\0\x01\0\0desc",
    "ZIP": b"PK\x03\x04\x14\0\0\0\x08\0" + b"\x5a" * 16 + b"\x05\0\x1c\0a.wav",
}
"""The first bytes of what people take for audio that can be sent, as tools write them."""
