"""The format of a recording's file: blocks of entries that are only ever appended.

| part  | bytes                                                                                             |
|-------|---------------------------------------------------------------------------------------------------|
| head  | "RELAYREC", then the version of the format, one byte: 1, or 2 for a sealed file. Of a sealed file |
|       | also the id of its key, 8 bytes, and the header of its secretstream, 24                           |
| block | length and CRC-32 of what follows, each an unsigned integer of 4 bytes, the highest first; then a |
|       | Zstandard frame (RFC 8878) that holds a MessagePack array of entries, see `relay.record.entries`. |
|       | In a sealed file the frame is sealed, with the head beside it, see `relay.record.seal`            |

The first entry is a `RecordingHeader`. What comes when the file was closed already, as what the assistant's side says
that the call has cost, is a further part of it: a head and one block, with a `ToldAfterEnd` of the same call. Behind a
sealed part there are sealed ones only. A program that does not know of parts reads the first one.

A writer that is killed leaves a block that is torn, or none; a machine that
loses its power may leave zeros. Everything before can be read. Zstandard makes audio as small as zlib does, in a sixth
of the time.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

import msgspec
import zstandard

from relay.errors import NotARecording
from relay.record.entries import ENTRY_BYTES, Recorded, RecordingHeader, ToldAfterEnd
from relay.record.keys import ID_BYTES, RecordKey, key_of
from relay.record.seal import ADDED_BYTES, HEADER_BYTES, Broken, Opener, Sealer

T = TypeVar("T")

VERSION, SEALED_VERSION = 1, 2
MAGIC = b"RELAYREC"
HEAD = MAGIC + bytes([VERSION])
SEALED_HEAD_BYTES = len(HEAD) + ID_BYTES + HEADER_BYTES
BLOCK_MAX_BYTES = 64 * 1024 * 1024
"""Of a block's entries: a damaged file must not fill the memory."""
UNPACKED_MAX_BYTES = 1024**3
"""Of all entries of a call, in memory: more than an hour of the widest audio. Nor must a small file fill it that
somebody has made for that."""
UNPACKED_MAX_RATIO = 20
"""A longer call may have more, as its files are larger: sound gets some three times smaller, silence ten times."""
LEVEL = 1

_PREFIX = struct.Struct(">II")
FRAMING_BYTES = _PREFIX.size + ADDED_BYTES
"""What a block has at most beside its payload."""
_decoder = msgspec.msgpack.Decoder(list[Recorded])
_decoder_after_end = msgspec.msgpack.Decoder(list[ToldAfterEnd])


class Room:
    """Counts how much of the memory is left for the entries of the files that are read together.

    `packed_bytes` is the size of these files.
    """

    def __init__(self, packed_bytes: int) -> None:
        self._left_bytes = max(UNPACKED_MAX_BYTES, UNPACKED_MAX_RATIO * packed_bytes)

    def take(self, n_bytes: int) -> None:
        """Use so much of it. Raises NotARecording when it is used up."""
        self._left_bytes -= n_bytes
        if self._left_bytes < 0:
            raise NotARecording("a recording with more in its blocks than a file of its size has")


class BlockEncoder:
    """Makes payloads of blocks. One at a time: its methods may run in any thread, but not in two at once."""

    def __init__(self) -> None:
        self._encoder = msgspec.msgpack.Encoder()
        self._compressor = zstandard.ZstdCompressor(level=LEVEL)

    def payload(self, entries: Sequence[Recorded]) -> bytes:
        """What a block with these entries holds, in their order."""
        return self._compressor.compress(self._encoder.encode(entries))

    def block(self, entries: Sequence[Recorded]) -> bytes:
        """The bytes of a block of a file that is not sealed."""
        return _framed(self.payload(entries))


class Blocks:
    """The head and the blocks of one file, in the order in which they are asked for; sealed where there is a key."""

    def __init__(self, key: RecordKey | None) -> None:
        self.head = HEAD
        self._sealer = None if key is None else Sealer(key)
        if self._sealer is not None:
            self.head = MAGIC + bytes([SEALED_VERSION]) + self._sealer.key_id + self._sealer.header

    def next(self, payload: bytes) -> bytes:
        """The bytes of the next block. All of them must come into the file, or nothing behind them can be read."""
        return _framed(payload if self._sealer is None else self._sealer.seal(payload, self.head))


def part_after_end(told: ToldAfterEnd, key: RecordKey | None) -> bytes:
    """What is appended for it to a file that is closed."""
    blocks, encoder = Blocks(key), msgspec.msgpack.Encoder()
    return blocks.head + blocks.next(zstandard.compress(encoder.encode([told]), LEVEL))


def _framed(payload: bytes) -> bytes:
    return _PREFIX.pack(len(payload), zlib.crc32(payload)) + payload


def is_sealed(path: Path) -> bool:
    """Whether this file says that it is. Raises OSError if it cannot be read."""
    with path.open("rb") as file:
        return file.read(len(HEAD)) == MAGIC + bytes([SEALED_VERSION])


def read(
    data: bytes, keys: Sequence[RecordKey] = (), room: Room | None = None
) -> tuple[RecordingHeader, Iterator[Recorded]]:
    """The header and the entries behind it, as far as the file is whole. `keys`: those that may have sealed it.
    `room` is shared with what is read beside it.

    Raises NotARecording, with one line that says why, for what is no recording, or is sealed by another key, or has no
    whole header; the iterator raises it for a block that is whole and cannot be read, and when there is no `room`.
    """
    if not data.startswith(MAGIC):
        raise NotARecording("no recording of a call")
    entries = _entries(data, keys, room or Room(len(data)))
    header = next(entries, None)
    if not isinstance(header, RecordingHeader):
        raise NotARecording("a recording that was cut short before its first entry was whole")
    return header, entries


def read_after_end(
    data: bytes, keys: Sequence[RecordKey], call_id: str, room: Room | None = None
) -> Iterator[ToldAfterEnd]:
    """What was added to this call's file when it was closed, as far as it is whole. `room` as in `read`.

    The iterator raises NotARecording for what is of another call, in the clear behind what is sealed, or unreadable,
    and when there is no `room`.
    """
    room = room or Room(len(data))
    decompressor = zstandard.ZstdDecompressor()
    for begin, end in islice(_parts(data), 1, None):
        part = data[begin:end]
        if part.startswith(HEAD) and not data.startswith(HEAD):
            raise NotARecording("a sealed recording with something behind it that is not sealed")
        for payload in _of_blocks(part, keys):
            for told in _decoded(payload, decompressor, _decoder_after_end, room):
                if told.call_id != call_id:
                    raise NotARecording("a recording with something behind it that is of another call")
                yield told


def _parts(data: bytes) -> Iterator[tuple[int, int]]:
    """Where each part begins, and where the last of its blocks that are whole ends."""
    begin = 0
    while data.startswith(MAGIC, begin):
        head_bytes = len(HEAD) if data.startswith(HEAD, begin) else SEALED_HEAD_BYTES
        end = begin + head_bytes + sum(_PREFIX.size + len(payload) for payload in _payloads(data, begin + head_bytes))
        yield begin, end
        begin = end


def _entries(data: bytes, keys: Sequence[RecordKey], room: Room) -> Iterator[Recorded]:
    decompressor = zstandard.ZstdDecompressor()
    for payload in _of_blocks(data, keys):
        yield from _decoded(payload, decompressor, _decoder, room)


def _of_blocks(data: bytes, keys: Sequence[RecordKey]) -> Iterator[bytes]:
    """What the blocks of the first part hold."""
    version = data[len(MAGIC)] if len(data) > len(MAGIC) else VERSION
    if version not in {VERSION, SEALED_VERSION}:
        formats = f"{VERSION} and {SEALED_VERSION}"
        raise NotARecording(f"a recording of format {version}, and this program reads formats {formats}")
    return _payloads(data, len(HEAD)) if version == VERSION else _opened(data, keys)


def _payloads(data: bytes, at: int) -> Iterator[bytes]:
    """What the blocks hold from there on, up to one that is torn. An empty one is zeros that a loss of power left."""
    while (begin := at + _PREFIX.size) <= len(data):
        length, checksum = _PREFIX.unpack_from(data, at)
        payload = data[begin : begin + length]
        if not payload or len(payload) < length or zlib.crc32(payload) != checksum:
            return
        yield payload
        at = begin + length


def _opened(data: bytes, keys: Sequence[RecordKey]) -> Iterator[bytes]:
    """What the blocks of a sealed file hold."""
    head = data[:SEALED_HEAD_BYTES]
    if len(head) < SEALED_HEAD_BYTES:
        return
    key_id, header = head[len(HEAD) : len(HEAD) + ID_BYTES], head[len(HEAD) + ID_BYTES :]
    key = key_of(key_id, keys)
    if key is None:
        raise NotARecording(f"a recording that is sealed with the key {key_id.hex()}: give that in RELAY_RECORD_KEY")
    opener = Opener(key, header)
    for sealed in _payloads(data, SEALED_HEAD_BYTES):
        try:
            yield opener.open(sealed, head)
        except Broken:
            raise NotARecording("a recording with a block that was changed, or is in a wrong place") from None


def _decoded(
    payload: bytes, decompressor: zstandard.ZstdDecompressor, decoder: msgspec.msgpack.Decoder[list[T]], room: Room
) -> list[T]:
    try:
        n_bytes = zstandard.frame_content_size(payload)
        if not 0 <= n_bytes <= BLOCK_MAX_BYTES:
            raise NotARecording("a recording with a block of no known size, or of too great a one")
        room.take(n_bytes)
        entries = decoder.decode(decompressor.decompress(payload))
    except (zstandard.ZstdError, msgspec.DecodeError) as error:
        raise NotARecording(f"a recording with a block that cannot be read: {error}") from None
    room.take(ENTRY_BYTES * len(entries))
    return entries
