"""Mends WAV files before they are decoded: their sizes become true, and nothing is left but format and samples.

A tool that writes a stream cannot know its length. It writes 0xFFFFFFFF, 0x7FFFFFFF, a little less (sox), or 0, and
never comes back to correct it. A decoder takes the last for an empty file, and a file that was cut short for a whole
one. The layout is that of the "Multimedia Programming Interface and Data Specifications" (IBM and Microsoft, 1991), of
WAVEFORMATEXTENSIBLE, and of RF64 (EBU Tech 3306).
"""

import struct

from relay.errors import FormatMismatch, RecordingBroken
from relay.media.sound import check_layout

UNKNOWN_FROM_BYTES = 0x7FFF_0000
"""A size from here on is no size: recordings of 2 GiB are not read."""
CHUNKS_MAX = 1000
"""Before the samples. Editors write a few."""
_FORMAT_MAX_BYTES = 40
_IN_DS64 = 0xFFFF_FFFF
_PCM, _FLOAT, _ALAW, _MULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_COMPRESSED = {0x02: "ADPCM", 0x11: "IMA ADPCM", 0x31: "GSM 6.10", 0x50: "MPEG audio", 0x55: "MP3", 0xFF: "AAC"}


def is_wav(head: bytes) -> bool:
    """Whether bytes are the beginning of a WAV file; 12 are enough."""
    return head[:4] in {b"RIFF", b"RF64"} and head[8:12] == b"WAVE"


def mended(content: bytes) -> bytes:
    """Return a WAV file of the same samples, with a header that can be trusted.

    Raises:
        FormatMismatch: it is no WAV file, its samples are compressed by something else than G.711, or `check_layout`.
        RecordingBroken: it is cut short, or its header contradicts itself.
    """
    if not is_wav(content):
        raise FormatMismatch("no WAV file")
    layout, long_size = b"", _IN_DS64
    at = 12
    for _ in range(CHUNKS_MAX):
        if at + 8 > len(content):
            break
        name, size = struct.unpack_from("<4sI", content, at)
        at += 8
        if name == b"data":
            block = _block_bytes(layout)
            n_bytes = _true_size(content, at, long_size if size == _IN_DS64 else size, block)
            return _file(layout, memoryview(content)[at : at + n_bytes - n_bytes % block])
        chunk = content[at : at + min(size, _FORMAT_MAX_BYTES)]
        if name == b"fmt ":
            layout = chunk
        elif name == b"ds64" and len(chunk) >= 16:
            (long_size,) = struct.unpack_from("<Q", chunk, 8)
        at += size + size % 2
    raise RecordingBroken("a WAV file that ends within its header")


def _block_bytes(layout: bytes) -> int:
    """Return the bytes of one sample instant; decoding would make noise of a header that is wrong about them."""
    if len(layout) < 16:
        raise RecordingBroken("a WAV file that does not say its format")
    block: int
    tag, channels, rate_hz, _per_s, block, bits = struct.unpack_from("<HHIIHH", layout)
    if tag == _EXTENSIBLE and len(layout) == _FORMAT_MAX_BYTES:
        (tag,) = struct.unpack_from("<H", layout, 24)
    widths = {_PCM: {-(-bits // 8)} & {1, 2, 3, 4}, _FLOAT: {bits // 8} & {4, 8}, _ALAW: {1}, _MULAW: {1}}.get(tag)
    if widths is None:
        raise FormatMismatch(f"a WAV file whose samples are {_COMPRESSED.get(tag, f'of an unknown kind, {tag:#06x}')}")
    check_layout(rate_hz, channels)
    if block % channels or block // channels not in widths:
        raise RecordingBroken(f"a WAV file that contradicts itself: {channels} x {bits} bits in {block} bytes")
    return block


def _true_size(content: bytes, at: int, size: int, block: int) -> int:
    there = len(content) - at
    (whole,) = struct.unpack_from("<I", content, 4)
    finished = 0 <= len(content) - (whole + 8) <= 1  # the tool came back to the header: what it says holds
    if size >= UNKNOWN_FROM_BYTES or (size == 0 and not finished):
        return there
    if size > there:
        raise RecordingBroken(f"cut short, {there // block} of {size // block} samples are there")
    return size


def _file(layout: bytes, samples: memoryview) -> bytes:
    padded = layout + bytes(len(layout) % 2)
    head = struct.pack("<4sI4s4sI", b"RIFF", 20 + len(padded) + len(samples), b"WAVE", b"fmt ", len(layout))
    return b"".join((head, padded, struct.pack("<4sI", b"data", len(samples)), samples))
