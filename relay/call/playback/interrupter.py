"""Silences the assistant when the caller interrupts it, and brings it back when the caller has only agreed.

Everything here is a plain function, so no other task can see half a step. Who may interrupt, and when, is decided in
`relay.logic.playback.barge_in`, what an agreement is in `relay.logic.playback.agreement`.
"""

from collections.abc import Callable

from relay.call.playback.flush import Flush
from relay.call.playback.intake import Intake
from relay.call.playback.interruptions import Interruptions
from relay.call.playback.speaker import Speaker
from relay.config import BargeInConfig
from relay.logic.playback.agreement import Agreement, AgreementRules, Outcome
from relay.logic.playback.barge_in import Action, BargeIn, BargeInRules, BargeInState
from relay.logic.playback.fence import Fence, FenceState
from relay.media.detector import Confirmed, Decision, Ended, Likely, Rejected
from relay.media.interruption_model import AssistantActivity
from relay.wakeup import Signal, current_time


class Interrupter:
    """One per call. It hears of the caller from our detector and from the assistant, and acts at once."""

    def __init__(
        self,
        config: BargeInConfig,
        *,
        fence: Fence,
        flush: Flush,
        intake: Intake,
        speaker: Speaker,
        interruptions: Interruptions,
        goes_on: bool = False,
    ) -> None:
        """`goes_on`: the conversation began in another process, with the first message."""
        self._goes_on = goes_on
        self._protect_first = config.protect_first_message
        self._barge_in = BargeIn(barge_in_rules(config))
        self._agreement = Agreement(agreement_rules(config))
        self._fence = fence
        self._flush = flush
        self._intake = intake
        self._speaker = speaker
        self._playout = speaker.playout
        self._interruptions = interruptions
        self._onset_at: float | None = None
        self._caller_speaks = False
        self._spoke_from_ms = 0.0
        self._paused_at: float | None = None
        self.asked = Signal()
        """Fired when a classifier is to be asked."""

    @property
    def asks(self) -> bool:
        """Whether `judged` is awaited."""
        return self._barge_in.state is BargeInState.ASKING

    def assistant_activity(self) -> AssistantActivity:
        """What the assistant is doing, for the classifier."""
        now = current_time()
        heard_s, left_s = self._playout.heard_ms(self._fence.turn, now) / 1000, self._playout.left_ms(now) / 1000
        return AssistantActivity(heard_s, left_s, first_message=self._is_first_message)

    def judged(self, *, interrupts: bool) -> None:
        """What the classifier thinks of the caller's speech."""
        now = current_time()
        self._silence(lambda: self._barge_in.judged(interrupts=interrupts, now=now), now)

    @property
    def deadline(self) -> float | None:
        """When `expire` has something to do."""
        deadlines = (self._barge_in.deadline, self._agreement.deadline if self._undecided else None)
        return min((at for at in deadlines if at is not None), default=None)

    def caller_heard(self, decision: Decision, onset_at: float) -> None:
        """What the detector makes of the caller, who began to speak at `onset_at` if it is speech."""
        now = current_time()
        self._forget_what_is_over()
        self._caller_speaks = isinstance(decision, Likely | Confirmed)
        match decision:
            case Likely():
                self._agreement.speaks()
                interruptible = self._interruptible(now)
                self._onset_at = onset_at if interruptible else None
                self._act(self._barge_in.likely(interruptible=interruptible, now=now), now)
            case Confirmed(onset_ms=onset_ms):
                self._spoke_from_ms = onset_ms
                self._agreement.spoke(onset_at)
                interruptible = self._interruptible(now)
                self._onset_at = onset_at if interruptible else self._onset_at
                lingers = self._may_interrupt and self._playout.lingers
                self._silence(
                    lambda: self._barge_in.confirmed(interruptible=interruptible, lingers=lingers, now=now), now
                )
            case Rejected():
                self._onset_at = None
                self._agreement.rejected(now)
                self._act(self._barge_in.rejected(), now)
            case Ended(at_ms=at_ms, decided_ms=decided_ms):
                end_at = now - (decided_ms - at_ms) / 1000
                self._agreement.ended((at_ms - self._spoke_from_ms) / 1000, end_at, now)
                self._speaker.changed.fire()
                if self._barge_in.state is BargeInState.IDLE:
                    self._onset_at = None

    def caller_words(self, text: str) -> None:
        """The assistant has recognised these words of the caller, all of them so far or for good."""
        now = current_time()
        self._forget_what_is_over()
        if not self._agreement.is_agreement(text):
            self._act(self._barge_in.heard_words(len(text.split()), now), now)
        self._follow(self._agreement.words(text, now), now)
        self._speaker.changed.fire()  # it may be known sooner now

    def assistant_interrupted(self) -> None:
        """The assistant says that the caller interrupted it: it has stopped, or will in a moment."""
        now = current_time()
        self._agreement.interrupted(now)
        if not self._fence.is_open:
            self._fence.confirm(now)
        elif not self._protected:
            self._act(self._barge_in.interrupted(now), now, agreed=True)

    def expire(self, now: float) -> None:
        """Act on a decision that was due by now."""
        self._silence(lambda: self._barge_in.expire(now), now)
        if self._undecided:
            self._follow(self._agreement.expire(now, goes_on=self._fence.goes_on(now)), now)

    @property
    def _undecided(self) -> bool:
        """Whether the assistant is silent until somebody says that it was interrupted, or was not."""
        return self._fence.state is FenceState.HOLDING or self._barge_in.state is BargeInState.WAITING

    @property
    def _is_first_message(self) -> bool:
        return self._fence.turn <= 1 and not self._goes_on

    @property
    def _protected(self) -> bool:
        return self._protect_first and self._is_first_message

    @property
    def _may_interrupt(self) -> bool:
        return not self._protected and self._fence.is_open

    def _interruptible(self, now: float) -> bool:
        return self._may_interrupt and self._playout.audible(now)

    def _silence(self, decide: Callable[[], Action | None], now: float) -> None:
        """Act on a decision about the caller's speech, which may turn out to be an agreement if it silences anybody."""
        was_undecided = self._undecided
        self._act(decide(), now)
        if self._undecided and not was_undecided:
            self._agreement.silenced(now)

    def _act(self, action: Action | None, now: float, *, agreed: bool = False) -> None:
        match action:
            case None:
                pass  # a deadline may have moved all the same
            case Action.PAUSE:
                self._pause(now)
            case Action.ASK:
                self._pause(now)
                self.asked.fire()
            case Action.RESUME:
                self._playout.resume(now)
                assert self._paused_at is not None
                self._interruptions.resumed(now - self._paused_at)
                self._paused_at = None
                self._onset_at = self._onset_at if self._caller_speaks else None
            case Action.CUT:
                self._paused_at = None
                self._flush.cut(now, onset_at=self._onset_at, agreed=agreed)
                self._playout.resume(now)
            case Action.CLEAR:
                self._flush.clear(now)
        self._speaker.changed.fire()

    def _pause(self, now: float) -> None:
        self._playout.pause()
        self._paused_at = now if self._paused_at is None else self._paused_at

    def _follow(self, outcome: Outcome | None, now: float) -> None:
        match outcome:
            case Outcome.BRING_BACK:
                was_cut = self._fence.state is FenceState.HOLDING
                self._act(self._barge_in.agreed(), now)
                if was_cut:
                    self._intake.take_back(now)
            case Outcome.CUT_AGAIN if self._interruptible(now):
                self._act(self._barge_in.disagreed(now), now)

    def _forget_what_is_over(self) -> None:
        if not self._undecided and self._fence.state is not FenceState.RETURNED:
            self._agreement.over()


def barge_in_rules(config: BargeInConfig) -> BargeInRules:
    """Who decides, as [barge_in] configures it."""
    return BargeInRules(
        enabled=config.enabled,
        policy=config.policy,
        min_words=config.min_words,
        agree_s=config.agree_ms / 1000,
        debounce_s=config.debounce_ms / 1000,
        ask_s=config.classifier_ms / 1000 if config.classifier else None,
    )


def agreement_rules(config: BargeInConfig) -> AgreementRules:
    """What an agreement is, as [barge_in] configures it."""
    return AgreementRules(
        evidence=config.agreement,
        longest_s=config.agreement_max_ms / 1000,
        wait_s=config.agreement_wait_ms / 1000,
        phrases=config.agreement_words,
    )
