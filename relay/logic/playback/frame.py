"""The frame that is played to the caller, which knows the turn that it belongs to."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PlayFrame:
    """20 ms of audio in the caller's format.

    `turn` is the number of the assistant's turn (see `fence`), `audible` is false for silence, `arrived_at` is when it
    came, in monotonic seconds, 0 for one that is made or put back here. Frames that differ only in that are equal.
    """

    turn: int
    data: bytes
    audible: bool
    arrived_at: float = field(default=0.0, compare=False)
