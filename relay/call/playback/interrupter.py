"""Silences the assistant when the caller interrupts it.

Everything here is a plain function: from the decision to the `clear` in the outbox no other task runs, so none can see
half a flush. Who may interrupt, and when, is decided in `relay.logic.playback.barge_in`.
"""

from functools import partial

import trio

from relay.call.playback.dialogue import Dialogue
from relay.call.playback.interruptions import Interruption, Interruptions
from relay.call.playback.speaker import Speaker
from relay.config import BargeInConfig
from relay.logic.playback.barge_in import Action, BargeIn, BargeInRules, BargeInState
from relay.logic.playback.fence import Fence, FenceState
from relay.media.detector import Confirmed, Decision, Ended, Likely, Rejected


class Interrupter:
    """One per call. It hears of the caller from our detector and from the assistant, and acts at once."""

    def __init__(
        self,
        config: BargeInConfig,
        *,
        fence: Fence,
        speaker: Speaker,
        dialogue: Dialogue,
        interruptions: Interruptions,
    ) -> None:
        self._protect_first = config.protect_first_message
        self._barge_in = BargeIn(barge_in_rules(config))
        self._fence = fence
        self._speaker = speaker
        self._playout = speaker.playout
        self._dialogue = dialogue
        self._interruptions = interruptions
        self._onset_at: float | None = None
        self._paused_at = 0.0

    @property
    def deadline(self) -> float | None:
        """When `expire` has something to do."""
        return self._barge_in.deadline

    def caller_heard(self, decision: Decision, onset_at: float) -> None:
        """What the detector makes of the caller, who began to speak at `onset_at` if it is speech."""
        now = trio.current_time()
        match decision:
            case Likely():
                interruptible = self._interruptible(now)
                self._onset_at = onset_at if interruptible else None
                self._act(self._barge_in.likely(interruptible=interruptible, now=now), now)
            case Confirmed():
                interruptible = self._interruptible(now)
                self._onset_at = onset_at if interruptible else self._onset_at
                lingers = self._may_interrupt and self._playout.lingers
                self._act(self._barge_in.confirmed(interruptible=interruptible, lingers=lingers, now=now), now)
            case Rejected():
                self._onset_at = None
                self._act(self._barge_in.rejected(), now)
            case Ended():
                if self._barge_in.state is BargeInState.IDLE:
                    self._onset_at = None

    def caller_words(self, count: int) -> None:
        """The assistant has recognised so many words of what the caller says now."""
        now = trio.current_time()
        self._act(self._barge_in.heard_words(count, now), now)

    def assistant_interrupted(self) -> None:
        """The assistant says that the caller interrupted it: it has stopped, or will in a moment."""
        now = trio.current_time()
        if self._fence.state is not FenceState.OPEN:
            self._fence.confirm(now)
        elif not self._protected:
            self._act(self._barge_in.interrupted(now), now, agreed=True)

    def expire(self, now: float) -> None:
        """Act on a decision that was due by now."""
        self._act(self._barge_in.expire(now), now)

    @property
    def _protected(self) -> bool:
        return self._protect_first and self._fence.turn <= 1

    @property
    def _may_interrupt(self) -> bool:
        return not self._protected and self._fence.state is FenceState.OPEN

    def _interruptible(self, now: float) -> bool:
        return self._may_interrupt and self._playout.audible(now)

    def _act(self, action: Action | None, now: float, *, agreed: bool = False) -> None:
        match action:
            case None:
                pass  # a deadline may have moved all the same
            case Action.PAUSE:
                self._playout.pause()
                self._paused_at = now
            case Action.RESUME:
                self._playout.resume(now)
                self._interruptions.resumed(now - self._paused_at)
            case Action.CUT:
                self._cut(now, agreed=agreed)
            case Action.CLEAR:
                self._clear(now)
        self._speaker.changed.fire()

    def _cut(self, now: float, *, agreed: bool) -> None:
        self._dialogue.cut(self._playout.unheard(now))
        self._speaker.stop()
        cut = self._playout.cut(self._fence.turn, now)
        turn = self._fence.cut(cut.unheard, now, confirmed=agreed)
        mark = (self._fence.turn, int(self._playout.sent_ms))
        it = Interruption(turn, self._onset_at, now, cut.heard_ms, cut.flushed_ms, agreed, mark)
        self._interruptions.began(it)
        self._speaker.clear(*mark, partial(self._interruptions.cleared, it))

    def _clear(self, now: float) -> None:
        cleared = partial(self._interruptions.lingering_cleared, self._fence.turn, now)
        self._speaker.stop()
        self._playout.cut(self._fence.turn, now)
        self._fence.clear()
        self._speaker.clear(self._fence.turn, int(self._playout.sent_ms), cleared)


def barge_in_rules(config: BargeInConfig) -> BargeInRules:
    """Who decides, as [barge_in] configures it."""
    return BargeInRules(
        enabled=config.enabled,
        policy=config.policy,
        min_words=config.min_words,
        agree_s=config.agree_ms / 1000,
        debounce_s=config.debounce_ms / 1000,
    )
