"""The playback task and everything that may silence it: the assistant's audio from its socket to the caller's outbox.

`interrupt` and all that leads to it are plain functions: no other task can see half a flush. What is due, what is held
and what was heard is decided in `relay.logic`; here it meets the clock and the sockets.
"""

import math
from collections.abc import Iterable
from functools import partial

import trio

from relay.call.caller.leg import CallerLeg
from relay.call.playback.dialogue import Dialogue
from relay.call.playback.interruptions import Interruption, Interruptions
from relay.call.playback.speaker import Speaker
from relay.call.report.report import Report
from relay.config import BargeInConfig, JitterConfig
from relay.logic.assistant.conversation import Turn
from relay.logic.playback.barge_in import Action, BargeIn, BargeInRules, BargeInState
from relay.logic.playback.fence import Fence, FenceRules, FenceState, Ruling, Verdict
from relay.logic.playback.frame import PlayFrame
from relay.logic.playback.playout import Playout
from relay.media.detector import Confirmed, Decision, Ended, Likely, Rejected
from relay.media.downlink import Downlink
from relay.media.frames import FRAME_MS, Audio, AudioFormat
from relay.media.packetizer import Packetizer
from relay.media.silence import silence_test
from relay.media.transcode import Transcoder

COMFORT_QUEUED_MS = 300
"""So much of a comfort sound may wait; more than the buffer fills with before it plays."""
LAST_MARK_S = 1.0
"""How long the end of a call waits for the marks of what by the clock was played."""


class Playback:
    """One per call: whoever the caller's socket is, there is one queue, one schedule and one turn at a time.

    `format` is what the caller hears.
    """

    def __init__(
        self,
        source: AudioFormat,
        target: AudioFormat,
        *,
        jitter: JitterConfig,
        barge_in: BargeInConfig,
        dialogue: Dialogue,
        report: Report,
    ) -> None:
        self.format = target
        self._protect_first = barge_in.protect_first_message
        self._barge_in = BargeIn(barge_in_rules(barge_in))
        self.fence = Fence(fence_rules(barge_in))
        self._playout = Playout(target_ms=jitter.target_ms, lead_ms=jitter.lead_ms, max_ms=jitter.max_queue_ms)
        self._source = source
        self._downlink = Downlink(source, target)
        self._is_silent = silence_test(target)
        self._interruptions = Interruptions(report)
        self._speaker = Speaker(self._playout, report, frame_sent=self._check_fence)
        self._dialogue = dialogue
        self._counts = report.counts
        self._wait = trio.CancelScope()
        self._onset_at: float | None = None
        self._paused_at = 0.0

    # -- the assistant's side

    def listen_to(self, source: AudioFormat) -> None:
        """An assistant that sends this format speaks from now on."""
        if source != self._source:
            self._source = source
            self._downlink = Downlink(source, self.format)

    def receive_audio(self, data: bytes) -> bool:
        """A chunk from the assistant, of any length. Returns whether anything can be heard in it."""
        return self._offer(self._downlink.push(data))

    def _offer(self, frames: Iterable[bytes]) -> bool:
        now = trio.current_time()
        some_audible = False
        for frame in frames:
            self._counts.frame("assistant", "down")
            audible = not self._is_silent(frame)
            some_audible = some_audible or audible
            self._apply(self.fence.offer(frame, audible=audible, now=now), now)
        return some_audible

    def assistant_lost(self) -> None:
        """The assistant's connection is gone: what is queued is played, what has half arrived is not."""
        now = trio.current_time()
        self._downlink = Downlink(self._source, self.format)
        self._playout.outage()
        self.fence.reconnected(now)
        self._wait.cancel()

    def comfort(self, frame: bytes) -> None:
        """Play this sign of life, unless anything else waits to be played. It cannot be interrupted."""
        if self._playout.queued_ms < COMFORT_QUEUED_MS:
            now = trio.current_time()
            self._playout.add(PlayFrame(self.fence.turn, frame, audible=False), now)
            self._counts.invented("reconnect")
            self._wait.cancel()

    def comfort_over(self) -> None:
        """All of it was played: what else it has left waiting is taken back in the next pause."""
        self._playout.catch_up()

    def say(self, audio: Audio) -> None:
        """Play this behind all others, as the assistant's words."""
        speech = Transcoder(audio.format, self.format).push(audio)
        frames = Packetizer(self.format).push(speech.data)
        turn, now = self.fence.turn, trio.current_time()
        self._speaker.add([PlayFrame(turn, frame, not self._is_silent(frame), now) for frame in frames], now)
        self._wait.cancel()

    def turns(self) -> tuple[Turn, ...]:
        """The conversation as the caller knows it now."""
        return self._dialogue.turns(self._playout.unheard(trio.current_time()))

    def assistant_started(self, turn_index: int | None) -> None:
        """The assistant says that it began to speak."""
        now = trio.current_time()
        self._apply(self.fence.assistant_started(turn_index, now), now)
        if self.fence.state is FenceState.OPEN:
            self._dialogue.announced()

    def assistant_stopped(self) -> None:
        self.fence.assistant_stopped()

    def assistant_interrupted(self) -> None:
        """The assistant says that the caller interrupted it: it has stopped, or will in a moment."""
        now = trio.current_time()
        if self.fence.state is not FenceState.OPEN:
            self.fence.confirm(now)
        elif not self._protected:
            self._act(self._barge_in.interrupted(now), now, agreed=True)

    def caller_words(self, count: int) -> None:
        """The assistant has recognised so many words of what the caller says now."""
        now = trio.current_time()
        self._act(self._barge_in.heard_words(count, now), now)

    # -- the caller's side

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

    @property
    def _protected(self) -> bool:
        return self._protect_first and self.fence.turn <= 1

    @property
    def _may_interrupt(self) -> bool:
        return not self._protected and self.fence.state is FenceState.OPEN

    def _interruptible(self, now: float) -> bool:
        return self._may_interrupt and self._playout.audible(now)

    def attach(self, leg: CallerLeg) -> None:
        """Play to this socket from now on."""
        self._speaker.attach(leg)
        self._wait.cancel()

    def detach(self, leg: CallerLeg) -> float:
        """This socket is gone: what the caller had not heard waits for the next. Returns how many ms that is."""
        return self._speaker.detach(leg)

    def heard(self, turn: int, position_ms: int) -> None:
        """The caller's side echoed a mark. One of a turn that was cut came back because of the `clear`."""
        now = trio.current_time()
        behind_clear = self._interruptions.mark_returned(turn, position_ms, now)
        if not behind_clear and not self.fence.is_stale(turn):
            self._playout.mark_heard(position_ms, now)

    @property
    def audible(self) -> bool:
        return self._playout.audible(trio.current_time())

    @property
    def last_audible_at(self) -> float:
        """When sound was last sent to the caller."""
        return self._speaker.last_audible_at

    @property
    def queued_ms(self) -> int:
        return self._playout.queued_ms

    # -- the interruption

    def _act(self, action: Action | None, now: float, *, agreed: bool = False) -> None:
        match action:
            case None:
                return
            case Action.DUCK:
                self._playout.pause()
                self._paused_at = now
            case Action.RESUME:
                self._playout.resume(now)
                self._interruptions.resumed(now - self._paused_at)
            case Action.CUT:
                self._interrupt(now, agreed=agreed)
            case Action.CLEAR:
                self._clear(now)
        self._wait.cancel()

    def _interrupt(self, now: float, *, agreed: bool) -> None:
        self._dialogue.cut(self._playout.unheard(now))
        cut = self._speaker.cut(self.fence.turn, now)
        turn = self.fence.cut(cut.unheard, now, confirmed=agreed)
        mark = (self.fence.turn, int(self._playout.sent_ms))
        it = Interruption(turn, self._onset_at, now, cut.heard_ms, cut.flushed_ms, agreed, mark)
        self._interruptions.began(it)
        self._speaker.clear(*mark, partial(self._interruptions.cleared, it))

    def _clear(self, now: float) -> None:
        cleared = partial(self._interruptions.lingering_cleared, self.fence.turn, now)
        self._speaker.cut(self.fence.turn, now)
        self.fence.clear()
        self._speaker.clear(self.fence.turn, int(self._playout.sent_ms), cleared)

    def _apply(self, ruling: Ruling, now: float) -> None:
        self._counts.dropped("stale", ruling.dropped)
        if ruling.clean:
            self._downlink.reset()
        if ruling.verdict is not None:
            self._interruptions.settled(ruling.verdict)
        was_empty = self._playout.queued_ms == 0
        if ruling.verdict is Verdict.FALSE_ALARM:
            self._dialogue.taken_back(ruling.frames)
            self._playout.put_back(ruling.frames, now)
        else:
            if ruling.verdict is not None:
                self._dialogue.settled()
            self._dialogue.added(ruling.frames)
            self._speaker.add(ruling.frames, now)
        if was_empty and ruling.frames:
            self._wait.cancel()

    # -- the task

    async def run(self) -> None:
        """Send what is due, when it is due, until cancelled."""
        try:
            while True:
                with trio.CancelScope() as self._wait:
                    await trio.sleep_until(self._next_event_at())
                await self._speaker.send_due()
                self._expire()
        finally:
            self._interruptions.settled(None)

    def _next_event_at(self) -> float:
        times = (self._speaker.next_send_at(), self.fence.deadline, self._barge_in.deadline)
        return min((at for at in times if at is not None), default=math.inf)

    def _expire(self) -> None:
        now = trio.current_time()
        if self.fence.deadline is not None and now >= self.fence.deadline:
            self._apply(self.fence.expire(now), now)
        self._act(self._barge_in.expire(now), now)

    def _check_fence(self, turn: int) -> None:
        """The proof of the fence, from the far side of it: what was written after which `clear`."""
        if turn <= self._interruptions.cleared_through:
            self._counts.stale_sent()

    async def play_out(self) -> None:
        """No more audio will come. Return when the caller has heard everything that is audible.

        While the fence waits for the assistant to agree, what it holds may still turn out to be worth playing.
        """
        self._offer(self._downlink.finish())
        while self.audible or self.fence.state is FenceState.HOLDING:  # noqa: ASYNC110 - hearing goes on by itself
            await trio.sleep(FRAME_MS / 1000)
        with trio.move_on_after(LAST_MARK_S):
            while self._playout.lingers:  # noqa: ASYNC110
                await trio.sleep(FRAME_MS / 1000)


def barge_in_rules(config: BargeInConfig) -> BargeInRules:
    """Who decides, as [barge_in] configures it."""
    return BargeInRules(
        enabled=config.enabled,
        policy=config.policy,
        min_words=config.min_words,
        agree_s=config.agree_ms / 1000,
        debounce_s=config.debounce_ms / 1000,
    )


def fence_rules(config: BargeInConfig) -> FenceRules:
    """What an interrupted assistant does, as [barge_in] configures it."""
    return FenceRules(
        old_turn_s=config.old_turn_ms / 1000,
        false_alarm_s=config.false_alarm_ms / 1000,
        new_turn_pause_s=config.pause_ms / 1000,
    )
