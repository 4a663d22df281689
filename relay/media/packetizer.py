"""Exact frames out of audio that was cut anywhere."""

from relay.media.frames import FRAME_MS, AudioFormat


class Packetizer:
    """Cuts a byte stream of one format into frames of exactly `frame_ms`.

    The frames depend on the bytes alone, not on how they were chunked. What is less than a frame, an odd byte
    included, waits for more: at most one frame less one byte.
    """

    __slots__ = ("_format", "_frame_bytes", "_rest")

    def __init__(self, audio_format: AudioFormat, frame_ms: int = FRAME_MS) -> None:
        """`ValueError` if the rate has no whole number of samples in `frame_ms` (11025 Hz in 20 ms)."""
        blocks, remainder = divmod(audio_format.rate_hz * frame_ms, 1000)
        if remainder:
            raise ValueError(f"{audio_format}: {frame_ms} ms is not a whole number of samples")
        self._format = audio_format
        self._frame_bytes = blocks * audio_format.block_bytes
        self._rest = b""

    @property
    def pending_ms(self) -> float:
        """Audio that waits for the rest of its frame."""
        return self._format.duration_ms(len(self._rest))

    def push(self, data: bytes) -> list[bytes]:
        """The frames that are complete now, oldest first."""
        size = self._frame_bytes
        if self._rest:
            data = self._rest + data
        elif len(data) == size:
            return [data]
        whole = len(data) // size * size
        self._rest = data[whole:]
        return [data[start : start + size] for start in range(0, whole, size)]

    def flush(self) -> bytes | None:
        """The remainder filled up with silence to a whole frame, or None if nothing waits.

        A sample that is not complete is dropped: half of it would be a click.
        """
        block = self._format.block_bytes
        rest = self._rest[: len(self._rest) // block * block]
        self._rest = b""
        return rest + self._format.silence(self._frame_bytes - len(rest)) if rest else None

    def reset(self) -> None:
        """Forget what waits."""
        self._rest = b""
