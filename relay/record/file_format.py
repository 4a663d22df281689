"""The format of a recording's file: blocks of entries that are only ever appended.

| part  | bytes                                                                                             |
|-------|---------------------------------------------------------------------------------------------------|
| head  | "RELAYREC", then the version of the format, one byte                                              |
| block | length and CRC-32 of what follows, each an unsigned integer of 4 bytes, the highest first; then a |
|       | Zstandard frame (RFC 8878) that holds a MessagePack array of entries, see `relay.record.entries`  |

The first entry is a `RecordingHeader`. A writer that is killed leaves a block that is torn, or none: everything before
it can be read. Zstandard makes audio as small as zlib does, in a sixth of the time.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence

import msgspec
import zstandard

from relay.errors import NotARecording
from relay.record.entries import Recorded, RecordingHeader

VERSION = 1
MAGIC = b"RELAYREC"
HEAD = MAGIC + bytes([VERSION])
BLOCK_MAX_BYTES = 64 * 1024 * 1024
"""Of a block's entries: a damaged file must not fill the memory."""
LEVEL = 1

_PREFIX = struct.Struct(">II")
_decoder = msgspec.msgpack.Decoder(list[Recorded])


class BlockEncoder:
    """Makes blocks. One at a time: its methods may run in any thread, but not in two at once."""

    def __init__(self) -> None:
        self._encoder = msgspec.msgpack.Encoder()
        self._compressor = zstandard.ZstdCompressor(level=LEVEL)

    def block(self, entries: Sequence[Recorded]) -> bytes:
        """The bytes of a block with these entries, in their order."""
        payload = self._compressor.compress(self._encoder.encode(entries))
        return _PREFIX.pack(len(payload), zlib.crc32(payload)) + payload


def read(data: bytes) -> tuple[RecordingHeader, Iterator[Recorded]]:
    """The header and the entries behind it, as far as the file is whole.

    Raises NotARecording, with one line that says why, for what is no recording, or has no whole header; the iterator
    raises it for a block that is whole and cannot be read.
    """
    if not data.startswith(MAGIC):
        raise NotARecording("no recording of a call")
    if len(data) > len(MAGIC) and data[len(MAGIC)] != VERSION:
        raise NotARecording(f"a recording of format {data[len(MAGIC)]}, and this program reads format {VERSION}")
    entries = _entries(data)
    header = next(entries, None)
    if not isinstance(header, RecordingHeader):
        raise NotARecording("a recording that was cut short before its first entry was whole")
    return header, entries


def _entries(data: bytes) -> Iterator[Recorded]:
    decompressor = zstandard.ZstdDecompressor()
    at = len(HEAD)
    while (begin := at + _PREFIX.size) <= len(data):
        length, checksum = _PREFIX.unpack_from(data, at)
        payload = data[begin : begin + length]
        if len(payload) < length or zlib.crc32(payload) != checksum:
            return
        yield from _decoded(payload, decompressor)
        at = begin + length


def _decoded(payload: bytes, decompressor: zstandard.ZstdDecompressor) -> list[Recorded]:
    try:
        if not 0 <= zstandard.frame_content_size(payload) <= BLOCK_MAX_BYTES:
            raise NotARecording("a recording with a block of no known size, or of too great a one")
        return _decoder.decode(decompressor.decompress(payload))
    except (zstandard.ZstdError, msgspec.DecodeError) as error:
        raise NotARecording(f"a recording with a block that cannot be read: {error}") from None
