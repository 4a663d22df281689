"""WAV files: recordings in, what each side of a call heard out. Used off the media path, by commands and tests."""

import wave
from pathlib import Path
from types import TracebackType
from typing import Self

from relay.errors import FormatMismatch
from relay.media.frames import Audio, AudioFormat, Encoding


def read_wav(path: Path) -> Audio:
    """A whole mono 16-bit PCM file of any rate.

    `FormatMismatch` names the file and what it is instead; `OSError` if it cannot be read.
    """
    try:
        with wave.open(str(path), "rb") as file:
            channels, sample_bytes = file.getnchannels(), file.getsampwidth()
            if (channels, sample_bytes) != (1, 2):
                raise FormatMismatch(f"{path}: {channels} channel(s) of {sample_bytes * 8} bits, wanted mono 16 bits")
            promised, data = file.getnframes(), file.readframes(file.getnframes())
            if len(data) < promised * sample_bytes:
                raise FormatMismatch(f"{path}: cut short, {len(data) // sample_bytes} of {promised} samples are there")
            return Audio(AudioFormat(Encoding.PCM_S16LE, file.getframerate()), data)
    except (wave.Error, EOFError) as error:
        raise FormatMismatch(f"{path}: no PCM WAV file ({str(error) or 'it ends too soon'})") from error


class StereoWriter:
    """Writes two mono 16-bit streams as the left (caller) and right (assistant) side of one WAV file.

    Both sides begin at time 0 and may come in chunks of any length; what one side is ahead of the other is held in
    memory. `close` fills the shorter side up with silence.
    """

    def __init__(self, path: Path, rate_hz: int) -> None:
        self._format = AudioFormat(Encoding.PCM_S16LE, rate_hz)
        self._left = bytearray()
        self._right = bytearray()
        self._file = wave.open(str(path), "wb")  # noqa: SIM115 - open as long as this object
        self._file.setnchannels(2)
        self._file.setsampwidth(2)
        self._file.setframerate(rate_hz)

    def write(self, left: Audio | None = None, right: Audio | None = None) -> None:
        """Append to either side. `FormatMismatch` unless it is mono 16-bit PCM of the rate of the file."""
        if left:
            self._left += left.expect(self._format)
        if right:
            self._right += right.expect(self._format)
        self._put(min(len(self._left), len(self._right)) // 2 * 2)

    def close(self) -> None:
        """Write what is held and end the file; more calls do nothing. Half a sample at the end is dropped."""
        longest = max(len(self._left), len(self._right)) // 2 * 2
        for side in (self._left, self._right):
            del side[len(side) // 2 * 2 :]
            side.extend(bytes(longest - len(side)))
        self._put(longest)
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _put(self, n_bytes: int) -> None:
        if not n_bytes:
            return
        both = bytearray(n_bytes * 2)
        for offset in (0, 1):
            both[offset::4] = self._left[offset:n_bytes:2]
            both[offset + 2 :: 4] = self._right[offset:n_bytes:2]
        self._file.writeframes(both)
        del self._left[:n_bytes], self._right[:n_bytes]
