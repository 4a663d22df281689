"""The assistant's audio leaves in messages of these sizes.

On a recorded mu-law call the messages were 170 to 743 bytes long, never 160, about 46 ms each, and came in ticks
of about 50 ms, sometimes two at once. On a measured call with PCM at 16 kHz they were frames of 20 ms. "live" is each
of these in its encoding. "irregular" draws from the recorded sizes in any encoding, and in PCM an odd byte often ends
a message; "even" is 20 ms in any encoding.
"""

import random
from typing import Literal

from relay.media.frames import AudioFormat, Encoding

Chunking = Literal["live", "irregular", "even"]

_SIZES = (170, 185, 186, 371, 372, 557, 558, 743)
_WEIGHTS = (1, 2, 2, 8, 8, 2, 2, 1)


class Chunks:
    """An endless series of sizes, the same for the same seed; `tick_s` is how often messages leave."""

    def __init__(self, form: AudioFormat, chunking: Chunking, seed: int) -> None:
        self._form = form
        self._even = chunking == "even" or (chunking == "live" and form.encoding is not Encoding.MULAW)
        self._random = random.Random(seed)
        self.tick_s = 0.02 if self._even else 0.05

    def next_bytes(self) -> int:
        """The size of the next message."""
        if self._even:
            return self._form.frame_bytes
        mulaw_bytes = self._random.choices(_SIZES, _WEIGHTS)[0]
        if self._form.encoding is Encoding.MULAW:
            return mulaw_bytes
        return mulaw_bytes * self._form.rate_hz * self._form.block_bytes // 8000 + self._random.choice((-1, 0, 0, 1))
