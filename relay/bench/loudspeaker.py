"""Plays what a caller of the load gets, so that it comes back as an echo in what the caller says."""

import base64

from relay.bench.sounds import FRAME_SAMPLES, TELEPHONE_HZ
from relay.standin.echo import EchoPath, mix
from relay.standin.sound import mulaw_to_samples, samples_to_mulaw

DELAY_MS = 180.0
SILENCE = b"\xff"


class Loudspeaker:
    """One per call. The echo is `loss_db` weaker than what was played, and comes 180 ms later. Audio is mu-law."""

    def __init__(self, loss_db: float) -> None:
        self._path = EchoPath(TELEPHONE_HZ, delay_ms=DELAY_MS, loss_db=loss_db)
        self._waiting = bytearray()

    def play(self, audio: bytes) -> None:
        """Play this behind what is already waiting."""
        self._waiting += audio

    def clear(self) -> None:
        """Play nothing of what waits."""
        self._waiting.clear()

    def payload(self, said: bytes) -> bytes:
        """Play 20 ms; return the frame that the caller says meanwhile with its echo, in base64."""
        played = bytes(self._waiting[:FRAME_SAMPLES])
        del self._waiting[:FRAME_SAMPLES]
        echo = self._path.push(mulaw_to_samples(played.ljust(FRAME_SAMPLES, SILENCE)))
        return base64.b64encode(samples_to_mulaw(mix(mulaw_to_samples(said), echo)))
