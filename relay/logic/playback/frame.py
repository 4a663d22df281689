"""The frame that is played to the caller, which knows the turn that it belongs to."""

from msgspec import Struct


class PlayFrame(Struct, frozen=True, gc=False, eq=False):
    """20 ms of audio in the caller's format.

    `turn` is the number of the assistant's turn (see `fence`), `audible` is false for silence, `arrived_at` is when it
    came, in monotonic seconds, 0 for one that is made or put back here. Frames that differ only in that are equal.
    """

    turn: int
    data: bytes
    audible: bool
    arrived_at: float = 0.0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlayFrame) and self._content == other._content

    def __hash__(self) -> int:
        return hash(self._content)

    @property
    def _content(self) -> tuple[int, bytes, bool]:
        return self.turn, self.data, self.audible
