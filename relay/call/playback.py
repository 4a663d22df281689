"""The playback task and everything that may silence it: the assistant's audio from its socket to the caller's outbox.

`interrupt` and all that leads to it are plain functions: no other task can see half a flush. What is due, what is held
and what was heard is decided in `relay.logic`; here it meets the clock and the sockets.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import trio
from structlog.typing import FilteringBoundLogger

from relay.call.counts import Counts
from relay.call.legs import CallerLeg
from relay.config import BargeInConfig, JitterConfig
from relay.errors import LegLost
from relay.logic.barge_in import Action, BargeIn, BargeInRules
from relay.logic.fence import Fence, FenceRules, FenceState, Ruling, Verdict
from relay.logic.playout import PlayFrame, Playout
from relay.media.detector import Confirmed, Decision, Likely, Rejected
from relay.media.frames import FRAME_MS, Audio, AudioFormat
from relay.media.g711 import is_silent
from relay.media.packetizer import Packetizer
from relay.media.transcode import Transcoder
from relay.metrics import Metrics
from relay.net.outbox import Entry

MARK_EVERY_MS = 200
"""How fine the heard position is known; a mark per frame would double the messages."""


@dataclass(frozen=True, slots=True)
class Interruption:
    """Times on the clock of `trio.current_time()`. `onset_at` is when the caller began to speak, None if only the
    assistant noticed."""

    onset_at: float | None
    decided_at: float
    turn: int
    heard_ms: float
    flushed_ms: float


class Playback:
    """One per call: whoever the caller's socket is, there is one queue, one schedule and one turn at a time."""

    def __init__(
        self,
        source: AudioFormat,
        target: AudioFormat,
        *,
        jitter: JitterConfig,
        barge_in: BargeInConfig,
        counts: Counts,
        metrics: Metrics,
        log: FilteringBoundLogger,
    ) -> None:
        self._source = source
        self._protect_first = barge_in.protect_first_message
        self._barge_in = BargeIn(
            BargeInRules(
                barge_in.enabled,
                barge_in.policy,
                barge_in.min_words,
                barge_in.agree_ms / 1000,
                barge_in.debounce_ms / 1000,
            )
        )
        self._counts = counts
        self._metrics = metrics
        self._log = log
        self._transcoder = Transcoder(source, target)
        self._packetizer = Packetizer(target)
        self._carry = b""
        self._playout = Playout(target_ms=jitter.target_ms, lead_ms=jitter.lead_ms, max_ms=jitter.max_queue_ms)
        self._fence = Fence(
            FenceRules(
                old_turn_s=barge_in.old_turn_ms / 1000,
                false_alarm_s=barge_in.false_alarm_ms / 1000,
                new_turn_pause_s=barge_in.pause_ms / 1000,
            )
        )
        self._leg: CallerLeg | None = None
        self._wait = trio.CancelScope()
        self._turn_scope = trio.CancelScope()
        self._onset_at: float | None = None
        self._paused_at = 0.0
        self._cleared_through = 0
        self._marked_ms = 0.0
        self._hole_ms = 0.0
        self.last_audible_at = trio.current_time()

    # -- the assistant's side

    def receive_audio(self, data: bytes) -> None:
        """A chunk from the assistant, of any length; an odd byte waits for its other half."""
        now = trio.current_time()
        data = self._carry + data
        whole = len(data) - len(data) % self._source.block_bytes
        data, self._carry = data[:whole], data[whole:]
        audio = self._transcoder.push(Audio(self._source, data))
        for frame in self._packetizer.push(audio.data):
            self._counts.frame("assistant", "down")
            self._apply(self._fence.offer(frame, audible=not is_silent(frame), now=now), now)

    def assistant_started(self, turn_index: int | None) -> None:
        """The assistant says that it began to speak."""
        now = trio.current_time()
        self._apply(self._fence.assistant_started(turn_index, now), now)

    def assistant_stopped(self) -> None:
        self._fence.assistant_stopped()

    def assistant_interrupted(self) -> None:
        """The assistant says that the caller interrupted it: it has stopped, or will in a moment."""
        now = trio.current_time()
        if self._fence.state is not FenceState.OPEN:
            self._fence.confirm(now)
        else:
            self._onset_at = None
            self._act(self._barge_in.interrupted(now), now)

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
                self._onset_at = onset_at
                self._act(self._barge_in.likely(interruptible=self._interruptible(now), now=now), now)
            case Confirmed():
                self._onset_at = onset_at
                self._act(self._barge_in.confirmed(interruptible=self._interruptible(now), now=now), now)
            case Rejected():
                self._act(self._barge_in.rejected(), now)

    def _interruptible(self, now: float) -> bool:
        protected = self._protect_first and self._fence.turn <= 1
        return not protected and self._fence.state is FenceState.OPEN and self._playout.audible(now)

    def attach(self, leg: CallerLeg) -> None:
        """Play to this socket from now on."""
        self._leg = leg
        self._playout.attach(trio.current_time())
        self._wait.cancel()

    def detach(self, leg: CallerLeg) -> None:
        """This socket is gone; nothing is played to it any more."""
        if self._leg is leg:
            self._leg = None

    def heard(self, turn: int, position_ms: int) -> None:
        """The caller's side echoed a mark. One of a turn that was cut came back because of the `clear`."""
        if not self._fence.is_stale(turn):
            self._playout.mark_heard(position_ms, trio.current_time())

    def is_stale(self, turn: int) -> bool:
        """The fence, for the writer of the caller's socket."""
        return self._fence.is_stale(turn)

    @property
    def audible(self) -> bool:
        return self._playout.audible(trio.current_time())

    @property
    def queued_ms(self) -> int:
        return self._playout.queued_ms

    # -- the interruption

    def _act(self, action: Action | None, now: float) -> None:
        match action:
            case Action.DUCK:
                self._playout.pause()
                self._paused_at = now
            case Action.RESUME:
                self._resume(now)
            case Action.CUT:
                self._interrupt(now, self._onset_at)

    def _resume(self, now: float) -> None:
        self._playout.resume(now)
        self._wait.cancel()
        self._counts.interruptions_resumed += 1
        self._log.info("bargein.resumed", paused_ms=round((now - self._paused_at) * 1000))

    def _interrupt(self, now: float, onset_at: float | None) -> None:
        cut = self._playout.cut(self._fence.turn, now)
        turn = self._fence.cut(cut.unheard, now, confirmed=onset_at is None)
        self._turn_scope.cancel()
        self._wait.cancel()
        done = Interruption(onset_at, now, turn, cut.heard_ms, cut.flushed_ms)
        if self._leg is not None:
            clear = Entry(self._leg.clear(), on_sent=partial(self._report, done))
            self._leg.outbox.flush_and_put([clear])
        self._counts.dropped("stale", int(cut.flushed_ms // FRAME_MS))

    def _report(self, done: Interruption, cleared_at: float) -> None:
        self._cleared_through = done.turn
        onset_at = done.decided_at if done.onset_at is None else done.onset_at
        self._metrics.bargein.observe(cleared_at - onset_at)
        self._log.info(
            "bargein.flushed",
            turn=done.turn,
            by="assistant" if done.onset_at is None else "caller",
            onset_to_clear_ms=round((cleared_at - onset_at) * 1000, 2),
            decide_to_clear_ms=round((cleared_at - done.decided_at) * 1000, 3),
            flushed_ms=round(done.flushed_ms, 1),
            heard_ms=round(done.heard_ms, 1),
        )

    def _apply(self, ruling: Ruling, now: float) -> None:
        self._counts.dropped("stale", ruling.dropped)
        if ruling.clean:
            self._transcoder.reset()
            self._packetizer.reset()
        if ruling.verdict is not None:
            self._conclude(ruling.verdict)
        if ruling.verdict is Verdict.FALSE_ALARM:
            self._playout.put_back(ruling.frames, now)
            self._wait.cancel()
        else:
            self._queue(ruling.frames, now)

    def _queue(self, frames: Sequence[PlayFrame], now: float) -> None:
        was_empty = self._playout.queued_ms == 0
        for frame in frames:
            if not self._playout.add(frame, now):
                self._counts.dropped("overflow")
        if was_empty and frames:
            self._wait.cancel()

    def _conclude(self, verdict: Verdict) -> None:
        if verdict is Verdict.FALSE_ALARM:
            self._counts.interruptions_false += 1
            self._log.info("bargein.false", turn=self._fence.turn)
        else:
            self._counts.interruptions_confirmed += 1
            self._log.info("bargein.settled", turn=self._fence.turn, by=verdict)

    # -- the task

    async def run(self) -> None:
        """Send what is due, when it is due, until cancelled."""
        while True:
            with trio.CancelScope() as self._wait:
                await trio.sleep_until(self._next_event_at())
            with trio.CancelScope() as self._turn_scope:
                await self._send_due()
            self._expire()

    def _next_event_at(self) -> float:
        times = [self._playout.next_send_at(), self._fence.deadline, self._barge_in.deadline]
        return min((at for at in times if at is not None), default=math.inf)

    def _expire(self) -> None:
        now = trio.current_time()
        if self._fence.deadline is not None and now >= self._fence.deadline:
            self._apply(self._fence.expire(now), now)
        self._act(self._barge_in.expire(now), now)

    async def _send_due(self) -> None:
        leg = self._leg
        while leg is not None and (due_at := self._playout.next_send_at()) is not None:
            frame = self._playout.take(trio.current_time())
            if frame is None:
                return
            self._note(frame)
            try:
                await self._put(leg, frame, max(due_at, frame.arrived_at))
            except LegLost:
                self.detach(leg)
                return

    async def _put(self, leg: CallerLeg, frame: PlayFrame, due_at: float) -> None:
        sent = partial(self._audio_sent, frame.turn, due_at)
        await leg.outbox.put(Entry(leg.audio(frame.data), turn=frame.turn, on_sent=sent))
        position_ms = self._playout.sent_ms
        if position_ms - self._marked_ms >= MARK_EVERY_MS or self._playout.queued_ms == 0:
            self._marked_ms = position_ms
            await leg.outbox.put(Entry(leg.mark(frame.turn, int(position_ms)), turn=frame.turn))

    def _audio_sent(self, turn: int, due_at: float, sent_at: float) -> None:
        """The proof of the fence, from the far side of it: what was written after which `clear`."""
        self._counts.frame_delay("down", sent_at - due_at)
        if turn <= self._cleared_through:
            self._counts.stale_sent()

    def _note(self, frame: PlayFrame) -> None:
        self._counts.frame("caller", "down")
        if frame.audible:
            self.last_audible_at = trio.current_time()
        hole_ms = self._playout.statistics().hole_ms - self._hole_ms
        if hole_ms > 0:
            self._hole_ms += hole_ms
            self._counts.hole(hole_ms)
            self._log.info("playout.hole", hole_ms=round(hole_ms, 1))

    async def play_out(self) -> None:
        """Return when the caller has heard everything that is audible."""
        while self.audible:  # noqa: ASYNC110 - hearing goes on by itself
            await trio.sleep(FRAME_MS / 1000)
