"""A stream of bytes that was cut anywhere becomes chunks of whole sample blocks."""

from relay.media.frames import AudioFormat


class SampleAligner:
    """Holds back the bytes of a block that is not complete, and puts them in front of the next chunk.

    Sockets cut where they like, and half a sample that is decoded with the wrong other half is a loud click. One
    stream needs one aligner: two streams through the same one would shift each other.
    """

    __slots__ = ("_block_bytes", "_rest")

    def __init__(self, audio_format: AudioFormat) -> None:
        self._block_bytes = audio_format.block_bytes
        self._rest = b""

    def push(self, data: bytes) -> bytes:
        """Return the whole blocks that are there now, perhaps none. At most one block less a byte waits."""
        if self._rest:
            data = self._rest + data
        whole = len(data) - len(data) % self._block_bytes
        self._rest = data[whole:]
        return data[:whole]

    def reset(self) -> None:
        """Forget the bytes that wait: the next chunk begins with a new block."""
        self._rest = b""
