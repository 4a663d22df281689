"""Reads WAV files: recordings, and sounds that are loaded before any call plays them."""

import wave
from pathlib import Path

from relay.errors import FormatMismatch
from relay.media.frames import Audio, AudioFormat, Encoding


def read_wav(path: Path) -> Audio:
    """Return a whole mono 16-bit PCM file of any rate.

    Raises `FormatMismatch`, which names the file and what it is instead, or `OSError` if it cannot be read.
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
