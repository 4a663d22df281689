"""The frame that is played to the caller, with the turn that it belongs to."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PlayFrame:
    """20 ms for the caller.

    `turn` is the assistant's turn that it belongs to, `audible` whether anything is in it, `arrived_at` when it came.
    """

    turn: int
    data: bytes
    audible: bool
    arrived_at: float = field(default=0.0, compare=False)
