"""Audio that was cut anywhere becomes frames of exactly 20 ms."""

from relay.media.frames import FRAME_MS, AudioFormat


class Packetizer:
    """Cuts whole samples of one format into 20 ms frames.

    The frames depend on the samples alone, not on how they were chunked. What is less than a frame waits for more.
    """

    __slots__ = ("_format", "_rest")

    def __init__(self, audio_format: AudioFormat) -> None:
        """Raises `ValueError` if 20 ms are not a whole number of samples, as at 11025 Hz."""
        if audio_format.rate_hz * FRAME_MS % 1000:
            raise ValueError(f"{audio_format}: {FRAME_MS} ms is not a whole number of samples")
        self._format = audio_format
        self._rest = b""

    @property
    def waits(self) -> bool:
        """Whether there is less than a frame that waits for more."""
        return bool(self._rest)

    def push(self, data: bytes) -> list[bytes]:
        """Return the frames that are complete now, oldest first."""
        size = self._format.frame_bytes
        if self._rest:
            data = self._rest + data
        elif len(data) == size:
            return [data]
        whole = len(data) // size * size
        self._rest = data[whole:]
        return [data[start : start + size] for start in range(0, whole, size)]

    def flush(self) -> bytes | None:
        """Return what waits, filled up with silence to a whole frame; None if nothing waits."""
        rest = self._rest
        self.reset()
        return rest + self._format.silence(self._format.frame_bytes - len(rest)) if rest else None

    def reset(self) -> None:
        """Forget what waits."""
        self._rest = b""
