"""Makes the comfort sound: two soft notes, again and again, for a caller who would otherwise hear nothing."""

from functools import cache

import numpy as np

from relay.media.frames import Audio, AudioFormat, Encoding
from relay.media.packetizer import Packetizer
from relay.media.transcode import Transcoder

PERIOD_S = 1.2
"""From the beginning of one pair of notes to that of the next."""
NOTES_HZ = (440.0, 523.25)
"""A4 and C5, one after the other."""
NOTE_S = 0.25
LEVEL = 0.02
"""Peak, of full scale: -34 dBFS, some 15 dB below speech."""

_RATE_HZ = 16000


@cache
def comfort_frames(audio_format: AudioFormat) -> tuple[bytes, ...]:
    """Return one period as 20 ms frames of this format, to be played over and over. All calls share them."""
    samples = np.zeros(int(PERIOD_S * _RATE_HZ))
    at = np.arange(int(NOTE_S * _RATE_HZ)) / _RATE_HZ
    for place, pitch_hz in enumerate(NOTES_HZ):
        # The squared sine lets the note swell and fade: one that begins at its full level would click.
        note = np.sin(2 * np.pi * pitch_hz * at) * np.sin(np.pi * at / NOTE_S) ** 2
        samples[place * len(at) : (place + 1) * len(at)] = LEVEL * 32767 * note
    source = AudioFormat(Encoding.PCM_S16LE, _RATE_HZ)
    audio = Transcoder(source, audio_format).push(Audio(source, samples.astype(np.int16).tobytes()))
    return tuple(Packetizer(audio_format).push(audio.data))
