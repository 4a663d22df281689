"""The echo of a telephone line: what the caller hears comes back in what the caller says, later and weaker.

A loudspeaker plays into a room, whose reverberation is modelled as decaying noise behind the direct sound; a line adds
its delay and its loss (ITU-T G.168 tests echo cancellers with paths of this shape).
"""

import numpy as np
import numpy.typing as npt

from relay.standin.sound import Samples

ROOM_MS = 80.0
"""How long the room answers: a small office."""
_DECAY_MS = 12.0
_DIRECT_PART = 0.5
"""So much of the echo's power is the direct sound."""
_FULL_SCALE = 32768.0


class EchoPath:
    """One loudspeaker, room and line, the same for the same `seed`.

    The echo of white noise is `loss_db` weaker than what was played. `drive` is how far the loudspeaker is overdriven:
    0 not at all; at 1 a full-scale sample comes out at 0.76 of itself, and harmonics are heard.
    """

    def __init__(self, rate_hz: int, *, delay_ms: float, loss_db: float, drive: float = 0.0, seed: int = 1) -> None:
        room = np.random.default_rng(seed).standard_normal(round(ROOM_MS * rate_hz / 1000))
        room *= np.exp(-np.arange(len(room)) * 1000 / rate_hz / _DECAY_MS)
        room *= np.sqrt((1 - _DIRECT_PART) / np.sum(room**2))
        room[0] = np.sqrt(_DIRECT_PART)
        self._response: npt.NDArray[np.float64] = room / np.sqrt(np.sum(room**2)) * 10 ** (-loss_db / 20)
        self._drive = drive
        self._coming = np.zeros(round(delay_ms * rate_hz / 1000))
        self._tail = np.zeros(len(room) - 1)

    def push(self, played: Samples) -> Samples:
        """Return what the microphone picks up while this is played: as many samples."""
        loud = played / _FULL_SCALE
        if self._drive:
            loud = np.tanh(self._drive * loud) / self._drive
        answer = np.convolve(loud, self._response) if len(loud) else np.zeros(len(self._tail))
        answer[: len(self._tail)] += self._tail
        self._coming = np.concatenate((self._coming, answer[: len(loud)]))
        self._tail = answer[len(loud) :]
        now, self._coming = self._coming[: len(loud)], self._coming[len(loud) :]
        echo: Samples = (now * _FULL_SCALE).round().clip(-32768, 32767).astype(np.int16)
        return echo


def mix(near: Samples, echo: Samples) -> Samples:
    """Return both together, of one length, saturated at full scale."""
    both: Samples = (near.astype(np.int32) + echo).clip(-32768, 32767).astype(np.int16)
    return both
