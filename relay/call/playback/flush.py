"""Takes from the caller all that was not heard of the assistant, in one synchronous step.

From the decision to the `clear` in the outbox no other task runs, so none can see half a flush.
"""

from functools import partial

from relay.call.playback.dialogue import Dialogue
from relay.call.playback.interruptions import Interruption, Interruptions
from relay.call.playback.speaker import Speaker
from relay.logic.playback.fence import Fence
from relay.logic.playback.playout import Cut


class Flush:
    """One per call. `now` is monotonic seconds."""

    def __init__(self, *, fence: Fence, speaker: Speaker, dialogue: Dialogue, interruptions: Interruptions) -> None:
        self._fence = fence
        self._speaker = speaker
        self._playout = speaker.playout
        self._dialogue = dialogue
        self._interruptions = interruptions

    def cut(self, now: float, *, onset_at: float | None, agreed: bool) -> None:
        """The caller interrupts. `agreed`: the assistant says so."""
        cut = self._take(self._fence.turn, now)
        turn = self._fence.cut(cut.unheard, now, confirmed=agreed, before=cut.before)
        self._clear_cut(turn, cut, now, onset_at=onset_at, agreed=agreed)

    def follow_fence(self, now: float) -> None:
        """The fence has found out by itself that what was brought back had been interrupted."""
        turn = self._fence.cut_through
        self._clear_cut(turn, self._take(turn, now), now, onset_at=None, agreed=True)

    def clear(self, now: float) -> None:
        """Make the caller's side forget what it may still hold, though by the clock it was played."""
        cleared = partial(self._interruptions.lingering_cleared, self._fence.turn, now)
        self._speaker.stop()
        self._playout.cut(self._fence.turn, now)
        self._fence.clear()
        self._speaker.clear(self._fence.turn, int(self._playout.sent_ms), cleared)

    def _take(self, turn: int, now: float) -> Cut:
        self._dialogue.cut(self._playout.unheard(now))
        self._speaker.stop()
        return self._playout.cut(turn, now)

    def _clear_cut(self, turn: int, cut: Cut, now: float, *, onset_at: float | None, agreed: bool) -> None:
        mark = (self._fence.turn, int(self._playout.sent_ms))
        it = Interruption(turn, onset_at, now, cut.heard_ms, cut.flushed_ms, agreed, mark)
        self._interruptions.began(it)
        self._speaker.clear(*mark, partial(self._interruptions.cleared, it))
