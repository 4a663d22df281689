"""Makes the sound of a recorded call small enough for its page: both sides as Vorbis in Ogg.

An hour takes 7 MB, and 9 s of a core; Opus would take ten times as long. In Ogg a place is found to the sample, in MP3
it is not. Safari plays it from version 18.4 on.
"""

import io
from dataclasses import dataclass

import numpy as np
import soundfile

from relay.record.sides import CallSides
from relay.record.stereo import stereo

COMPRESSION = 0.9
"""Of libsndfile, 0 to 1: some 15 kbit/s for both sides of a telephone call."""
PIECE_S = 60
"""libsndfile puts what it encodes at a time on its stack."""


@dataclass(frozen=True, slots=True)
class PageSound:
    """A whole file, left the caller, right what they heard."""

    content_type: str
    data: bytes


def page_sound(sides: CallSides) -> PageSound | None:
    """None for a call in which neither side said anything."""
    if not (sides.said or sides.heard):
        return None
    rate_hz = sides.format.rate_hz
    both = stereo(sides)
    file = io.BytesIO()
    with soundfile.SoundFile(
        file, "w", rate_hz, 2, format="OGG", subtype="VORBIS", compression_level=COMPRESSION
    ) as sound:
        for at in range(0, len(both), rate_hz * PIECE_S):
            sound.write(np.ascontiguousarray(both[at : at + rate_hz * PIECE_S]))
    return PageSound("audio/ogg; codecs=vorbis", file.getvalue())
