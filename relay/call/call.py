"""One call: the nursery of its four tasks, the caller's socket lent to it, and how it ends.

| state       | meaning                                | leaves when                        | deadline               |
|-------------|----------------------------------------|------------------------------------|------------------------|
| ringing     | the assistant is being dialled, the    | a socket of the caller is lent     | `twilio.token_ttl_s`:  |
|             | caller's socket is awaited             | -> talking                         | caller_lost            |
| talking     | the caller is here, the assistant too  | a side hangs up or is lost, drain  | `session.*`: idle,     |
|             | or soon                                | -> ending                          | max_duration           |
|             |                                        | the assistant ends -> playing out  |                        |
| playing out | the assistant's last words are still   | the caller has heard them          | `play_out_max_s`       |
|             | on their way                           | -> ending                          |                        |
| ending      | tasks are cancelled, sides hung up     | done                               | 2 s                    |
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
import trio
from structlog.contextvars import bound_contextvars

from relay.call.analysis import Analysis
from relay.call.counts import Counts
from relay.call.dialer import Dialer
from relay.call.dialogue import Dialogue
from relay.call.events import EventFeed, Speech, StateChanged
from relay.call.forwarder import Forwarder
from relay.call.legs import CallerAudio, CallerGone, CallerLeg, Dropped, Heard, KeyPressed
from relay.call.playback import Playback
from relay.call.vad_engine import VadEngine
from relay.config import Config
from relay.errors import LegClosed, LegLost, RemoteProtocolError
from relay.logic.outcome import EndReason
from relay.logic.replay import ReplayLog
from relay.logic.sentences import Sentences
from relay.media.detector import Confirmed, Decision, Ended
from relay.media.frames import TELEPHONE, AudioFormat
from relay.metrics import Metrics
from relay.wire import vapi_controls

FRAMES_WAITING_MAX = 10
"""Between receiver and analysis: 200 ms. Analysis waits for nobody, so a full channel only slows a burst."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Services:
    """What all calls share."""

    config: Config
    metrics: Metrics
    vad: VadEngine


class Call:
    """A conversation between one caller and the assistant. `sid` is the caller's CallSid, `id` is ours."""

    def __init__(self, sid: str, services: Services, dialer: Dialer, caller_format: AudioFormat = TELEPHONE) -> None:
        config = services.config
        self.id = secrets.token_hex(16)
        self.sid = sid
        self._config = config
        self._metrics = services.metrics
        self._vad = services.vad
        self._started_at = trio.current_time()
        self._reason: EndReason | None = None
        self._scope = trio.CancelScope()
        self._leg: CallerLeg | None = None
        self._given_back = trio.Event()
        self._leg_lent = trio.Event()
        self._counts = Counts(services.metrics)
        self.events = EventFeed()
        replay = ReplayLog(config.reconnect.replay_max_ms, config.reconnect.replay_speed)
        sentences = Sentences(replay, config.reconnect.unanswered_s)
        dialogue = Dialogue(sentences)
        self._playback = Playback(
            dialer.format,
            caller_format,
            jitter=config.jitter,
            barge_in=config.barge_in,
            dialogue=dialogue,
            counts=self._counts,
            metrics=services.metrics,
            log=structlog.get_logger().bind(call_id=self.id),
        )
        self._forwarder = Forwarder(
            dialer,
            replay,
            self._playback,
            dialogue,
            config,
            counts=self._counts,
            events=self.events,
            listening=self._assistant_listens,
        )
        self._analysis = Analysis(
            caller_format,
            dialer.format,
            config.vad,
            replay,
            sentences,
            counts=self._counts,
            reduce_noise=config.audio.noise_reduction != "off",
            audio_logged=self._forwarder.outgoing.audio_logged,
            caller_heard=self._caller_heard,
        )

    @property
    def queued_ms(self) -> int:
        """Audio of the assistant that waits here for the caller."""
        return self._playback.queued_ms

    def summary(self) -> dict[str, object]:
        """What can be told about the call while it runs."""
        return {
            "id": self.id,
            "call_sid": self.sid,
            "assistant_call_id": self._forwarder.assistant_call_id,
            "duration_s": round(trio.current_time() - self._started_at, 3),
            "caller_attached": self._leg is not None,
            "assistant_speaking": self._playback.audible,
            "queued_ms": self.queued_ms,
            **self._counts.totals(),
        }

    def is_stale(self, turn: int) -> bool:
        """Whether a turn was cut: for the writer of the caller's socket."""
        return self._playback.is_stale(turn)

    @contextmanager
    def lend(self, leg: CallerLeg) -> Iterator[trio.Event]:
        """Give the call a socket of the caller for as long as the context is open.

        The event is set when the call does not need it any more: the call is over, or a newer socket took its place.
        """
        self._given_back.set()
        self._given_back = trio.Event()
        self._leg = leg
        self._leg_lent.set()
        self._playback.attach(leg)
        if self._scope.cancel_called:
            self._given_back.set()
        try:
            yield self._given_back
        finally:
            self._playback.detach(leg)

    def finish(self, reason: EndReason) -> None:
        """End the call. The first reason stays."""
        self._reason = self._reason or reason
        if not self._scope.cancel_called:
            self.events.publish(StateChanged("ended", self._reason))
        self._scope.cancel()

    async def run(self) -> None:
        """Live until the call is over. A crash ends this call only."""
        with bound_contextvars(call_id=self.id):
            log.info("call.started", call_sid=self.sid)
            self._metrics.calls_active.inc()
            try:
                await self._live()
            except* Exception:
                self._reason = EndReason.ERROR
                self.events.publish(StateChanged("ended", EndReason.ERROR))
                log.exception("call.failed")
            finally:
                self._given_back.set()
                self._record_end()

    async def _live(self) -> None:
        with trio.move_on_after(self._config.session.max_duration_s) as limit, self._scope:
            send, receive = trio.open_memory_channel[CallerAudio](FRAMES_WAITING_MAX)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._receive, send)
                nursery.start_soon(self._analysis.run, receive, self._vad)
                nursery.start_soon(self._forward)
                nursery.start_soon(self._playback.run)
                nursery.start_soon(self._watch)
        if limit.cancelled_caught:
            self.finish(EndReason.MAX_DURATION)

    def _record_end(self) -> None:
        reason = self._reason or EndReason.DRAIN
        self._metrics.calls_active.dec()
        self._metrics.calls.labels(reason).inc()
        log.info(
            "call.ended",
            reason=reason,
            duration_s=round(trio.current_time() - self._started_at, 3),
            call_sid=self.sid,
            assistant_call_id=self._forwarder.assistant_call_id,
            messages_missing=self._leg.messages_missing if self._leg else 0,
            **self._counts.totals(),
        )

    async def _receive(self, frames: trio.MemorySendChannel[CallerAudio]) -> None:
        """The receiver task: everything the caller's socket says, from whichever socket is the caller's now.

        It ends when the call does, and then gives the socket back, while the assistant is still told goodbye.
        """
        try:
            await self._leg_lent.wait()
            while (leg := self._leg) is not None:
                try:
                    await self._receive_from(leg, frames)
                except (LegLost, LegClosed) as lost:
                    if leg is not self._leg:
                        continue
                    log.info("caller.lost", error=str(lost))
                    self.finish(EndReason.CALLER_LOST)
                    return
        finally:
            self._given_back.set()

    async def _receive_from(self, leg: CallerLeg, frames: trio.MemorySendChannel[CallerAudio]) -> None:
        log.info("caller.attached")
        while leg is self._leg:
            try:
                event = await leg.receive()
            except RemoteProtocolError as error:
                self._counts.dropped("malformed")
                if self._counts.protocol_error("caller", error.code):
                    log.warning("caller.bad_message", code=error.code, error=str(error))
                continue
            match event:
                case CallerAudio():
                    self._counts.frame("caller", "up")
                    await frames.send(event)
                case Heard(turn=turn, position_ms=position_ms):
                    self._playback.heard(turn, position_ms)
                case KeyPressed(digit=digit):
                    log.info("caller.key_pressed")
                    self._forwarder.outgoing.send_note(vapi_controls.dtmf_note(digit))
                case Dropped(cause=cause):
                    self._counts.dropped(cause)
                case CallerGone():
                    self.finish(EndReason.CALLER_HANGUP)

    async def _forward(self) -> None:
        reason = await self._forwarder.run(self.id)
        if reason is EndReason.ASSISTANT_ENDED:
            self._reason = self._reason or reason
            with trio.move_on_after(self._config.session.play_out_max_s):
                await self._playback.play_out()
        self.finish(reason)

    async def _watch(self) -> None:
        """Nobody came, or nobody speaks: both have an end."""
        with trio.move_on_after(self._config.twilio.token_ttl_s):
            await self._leg_lent.wait()
        if self._leg is None:
            self.finish(EndReason.CALLER_LOST)
        while (idle_at := self._idle_at()) > trio.current_time():  # noqa: ASYNC110 - it moves with every word
            await trio.sleep_until(idle_at)
        self.finish(EndReason.IDLE)

    def _idle_at(self) -> float:
        last_speech_at = max(self._analysis.last_speech_at, self._playback.last_audible_at)
        return last_speech_at + self._config.session.idle_timeout_s

    def _caller_heard(self, decision: Decision, onset_at: float) -> None:
        self._playback.caller_heard(decision, onset_at)
        if isinstance(decision, Confirmed | Ended):
            self.events.publish(Speech("user", started=isinstance(decision, Confirmed)))

    def _assistant_listens(self) -> None:
        self._analysis.let_flow()
        self.events.publish(StateChanged("live", "assistant ready"))
