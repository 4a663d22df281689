"""Takes from the caller all that was not heard of the assistant, in one synchronous step.

No other task runs in it, so none can see half a flush. The `clear` waits only for what has to be so before it is
written: that the fence is closed. What it takes from the queue is taken behind it.
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
        turn = self._fence.cut(now, confirmed=agreed)
        cut = self._clear_cut(turn, now, onset_at=onset_at, agreed=agreed)
        self._fence.keep(cut.unheard, cut.before)

    def follow_fence(self, now: float) -> None:
        """The fence has found out by itself that what was brought back had been interrupted."""
        self._clear_cut(self._fence.cut_through, now, onset_at=None, agreed=True)

    def clear(self, now: float) -> None:
        """Make the caller's side forget what it may still hold, though by the clock it was played."""
        cleared = partial(self._interruptions.lingering_cleared, self._fence.turn, now)
        self._speaker.stop()
        self._playout.cut(now)
        self._fence.clear()
        self._speaker.clear(self._fence.turn, int(self._playout.sent_ms), cleared)

    def _clear_cut(self, turn: int, now: float, *, onset_at: float | None, agreed: bool) -> Cut:
        self._speaker.stop()
        mark = (self._fence.turn, int(self._playout.sent_ms))
        heard_ms, flushed_ms = self._playout.heard_ms(turn, now), self._playout.left_ms(now)
        it = Interruption(turn, onset_at, now, heard_ms, flushed_ms, agreed, mark)
        self._interruptions.began(it)
        self._speaker.clear(*mark, partial(self._interruptions.cleared, it))
        cut = self._playout.cut(now)
        self._dialogue.cut(sum(frame.audible for frame in cut.unheard))
        return cut
