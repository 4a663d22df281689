"""The assistant's audio leaves in messages of these sizes.

On a recorded mu-law call the messages were 170 to 743 bytes long, never 160, about 46 ms each, and came in ticks
of about 50 ms, sometimes two at once. `irregular` draws from those sizes; in PCM an odd byte often ends a message.
"""

import random
from typing import Literal

from relay.media.frames import AudioFormat, Encoding

Chunking = Literal["irregular", "even"]

_SIZES = (170, 185, 186, 371, 372, 557, 558, 743)
_WEIGHTS = (1, 2, 2, 8, 8, 2, 2, 1)


class Chunks:
    """An endless series of sizes, the same for the same seed; `tick_s` is how often messages leave."""

    def __init__(self, form: AudioFormat, chunking: Chunking, seed: int) -> None:
        self._form = form
        self._chunking = chunking
        self._random = random.Random(seed)
        self.tick_s = 0.02 if chunking == "even" else 0.05

    def next_bytes(self) -> int:
        """The size of the next message."""
        if self._chunking == "even":
            return self._form.frame_bytes
        mulaw_bytes = self._random.choices(_SIZES, _WEIGHTS)[0]
        if self._form.encoding is Encoding.MULAW:
            return mulaw_bytes
        return mulaw_bytes * self._form.rate_hz * self._form.block_bytes // 8000 + self._random.choice((-1, 0, 0, 1))
