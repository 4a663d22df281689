"""Names what the fence may decide about the assistant's audio."""

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from relay.logic.playback.frame import PlayFrame


class Verdict(StrEnum):
    """What became of an interruption, when the fence opens."""

    NEW_TURN = "new_turn"
    """The assistant speaks anew; what was cut is gone for good."""
    FALSE_ALARM = "false_alarm"
    """The assistant was never interrupted; what was cut plays again."""
    AGREEMENT = "agreement"
    """The caller only agreed; what was cut plays again."""
    EXPIRED = "expired"
    """The assistant fell silent; what was cut is gone for good."""


class Ruling(Struct, frozen=True):
    """Frames for the playout queue, and the verdict if the fence has just opened.

    `dropped` counts frames that nobody will hear. `clean`: nothing that was held is played, so what waits in resampler
    and packetizer belongs to the old turn, and must be forgotten. `flush`: before anything else, all that waits for the
    caller must be flushed, as at an interruption. The first `repeated` frames have been heard before.
    """

    frames: Sequence[PlayFrame] = ()
    verdict: Verdict | None = None
    dropped: int = 0
    clean: bool = False
    flush: bool = False
    repeated: int = 0


HELD = Ruling()
"""Nothing to play, nothing decided."""
