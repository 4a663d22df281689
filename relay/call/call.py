"""One call: it builds its parts, runs their tasks in one nursery, uses the caller's sockets, and ends.

Its sockets are lent: the endpoint that accepted one owns it, and closes it when the call has given it back.

| state       | meaning                                | leaves when                        | deadline               |
|-------------|----------------------------------------|------------------------------------|------------------------|
| ringing     | the assistant is being dialled, the    | a socket of the caller is lent     | `twilio.token_ttl_s`:  |
|             | caller's socket is awaited             | -> talking                         | caller_lost            |
| talking     | the caller is here, or is waited for   | a side hangs up or is lost for     | `session.*`: idle,     |
|             | (`CallerLine`), the assistant too, or  | good, drain -> ending              | max_duration           |
|             | soon (`Forwarder`)                     | the caller's messages are malformed|                        |
|             |                                        | -> ending                          |                        |
|             |                                        | the assistant ends -> playing out  |                        |
|             |                                        | it asks to leave (`Departure`)     |                        |
|             |                                        | -> playing out                     |                        |
| playing out | the assistant's last words are still   | the caller has heard them          | `play_out_max_s`, or   |
|             | on their way                           | -> ending                          | `FAREWELL_MAX_S`       |
| ending      | tasks are cancelled, sides hung up     | done                               | 2 s                    |
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import astuple

import structlog
import trio
from structlog.contextvars import bound_contextvars

from relay.call.assistant.departure import Departure
from relay.call.assistant.forwarder import Forwarder
from relay.call.assistant.outgoing import Outgoing
from relay.call.assistant.pool import AssistantPool
from relay.call.caller.analysis import Analysis, NewStream
from relay.call.caller.leg import (
    CallerAudio,
    CallerEvent,
    CallerGone,
    CallerLeg,
    Dropped,
    Heard,
    KeyPressed,
    TooManyMalformed,
)
from relay.call.caller_line import CallerLine
from relay.call.checkpoint import Checkpoint, Note
from relay.call.last_words import LastWords
from relay.call.playback.dialogue import Dialogue
from relay.call.playback.playback import Playback
from relay.call.playback.speaker import Burden
from relay.call.report.assistant_events import WebhookAccepted, WebhookJoined
from relay.call.report.events import CallEnded, CallerCutOff, CallStarted, KeyWasPressed, Trouble
from relay.call.report.report import Report
from relay.call.second_opinion import SecondOpinion
from relay.call.services import Services
from relay.logic.assistant.replay import ReplayLog
from relay.logic.assistant.sentences import Sentences
from relay.logic.end_reason import REFUTABLE, EndReason
from relay.logic.playback.fence import Fence
from relay.media.frames import TELEPHONE, AudioFormat
from relay.media.remake import FrameMaker, worth_remaking
from relay.state import CallRecord
from relay.wakeup import current_time, deadline, sleep_until, timed_by
from relay.wire import vapi_controls
from relay.wire.vapi_actions import Action, Transfer

FRAMES_WAITING_MAX = 10
"""Between receiver and analysis: 200 ms, until the analysis runs. From then on it waits for nobody."""

UNANSWERED_NOTE = "[The transfer did not take place: nobody answered. The caller is back with you.]"

LEFT, LEFT_ERROR = "NOTES_LEFT", "the process that has the call now was not told in time"

log = structlog.get_logger(__name__)


class Call:
    """A conversation between one caller and the assistant. `sid` is the caller's CallSid, `id` is ours."""

    def __init__(
        self,
        record: CallRecord,
        services: Services,
        pool: AssistantPool,
        caller_format: AudioFormat,
        note: Note | None,
        *,
        burden: Burden,
    ) -> None:
        """`record` is that of a new call, or the call as another process has left it; `note` keeps it for the next."""
        config, now, assistant_format = services.config, trio.current_time(), pool.first.format
        self.sid, self.id = record.call_sid, record.call_id
        self._config, self._vad, self._generation = config, services.vad, services.generation
        self._started_at = min(now, record.started_at)
        self._reason: EndReason | None = None
        self.assistant_ended_reason: str | None = None
        self.assistant_cost_usd: float | None = None
        """Of the assistant's call that ended last, as a webhook told."""
        self._scope = trio.CancelScope()
        recorder = services.recorder
        goes_on = bool(record.assistant_call_id)
        recording = (
            recorder.begin(self.id, self.sid, caller_format, assistant_format, goes_on=goes_on) if recorder else None
        )
        if recording is not None:
            recording.stood(record.without_secrets())
        self.report = report = Report(self.id, services.metrics, recording, ended_before=record.ended_before)
        remake = (
            FrameMaker(caller_format, assistant_format) if worth_remaking(caller_format, assistant_format) else None
        )
        replay = ReplayLog(config.reconnect.replay_max_ms, config.reconnect.replay_speed, remake)
        sentences = Sentences(replay, config.reconnect.unanswered_s)
        self._outgoing = outgoing = Outgoing(replay, assistant_format, report, record.notes)
        dialogue = Dialogue(sentences, record.conversation, answered=outgoing.answered)
        self._playback = playback = Playback(assistant_format, caller_format, config, dialogue, report, burden=burden)
        frames, self._frames = trio.open_memory_channel[CallerAudio | NewStream](FRAMES_WAITING_MAX)
        ages_s = [now - at for at in record.reattached_at]
        self._analysis = analysis = Analysis(
            caller_format,
            assistant_format,
            replay,
            sentences,
            config=config,
            report=report,
            audio_logged=outgoing.audio_logged,
            caller_heard=playback.interrupter.caller_heard,
        )
        self._line = line = CallerLine(
            frames, analysis.take_now, playback.speaker, record.policy, report, ages_s=ages_s
        )
        playback.speaker.far_end = analysis.far_end
        is_telephone = caller_format == TELEPHONE
        self._departure = Departure(config.transfer, outgoing, playback, report, telephone=is_telephone)
        self._forwarder = forwarder = Forwarder(
            pool,
            outgoing,
            playback,
            dialogue,
            config=config,
            report=report,
            listening=analysis.let_flow,
            departure=self._departure,
        )
        forwarder.variables = dict(record.variables)
        if record.assistant_call_id:
            forwarder.take_over(record.assistant, record.assistant_call_id, record.handed_to)
        self.checkpoint = Checkpoint(record, note, forwarder=forwarder, playback=playback, line=line)
        self._second_opinion = (
            SecondOpinion(services.classifier, playback.interrupter, analysis.recent, report)
            if services.classifier is not None and analysis.recent is not None
            else None
        )
        self._last_words = LastWords(playback, line, config, services.apology)

    @property
    def queued_ms(self) -> int:
        """Audio of the assistant that waits here for the caller."""
        return self._playback.queued_ms

    @property
    def age_s(self) -> float:
        """How long the call has run."""
        return trio.current_time() - self._started_at

    @property
    def last_speech_at(self) -> float:
        """When the caller was last known to speak."""
        return self._analysis.last_speech_at

    def summary(self) -> dict[str, object]:
        """What can be told about the call while it runs. Levels are those of now; None for a side that is not there."""
        attached, state = self._line.leg is not None, self.report.status.current
        return {
            "id": self.id,
            "call_sid": self.sid,
            "assistant_call_id": self._forwarder.assistant_call_id,
            "duration_s": round(self.age_s, 3),
            "state": state.status if state else None,
            "turn": self._playback.fence.turn,
            "caller_attached": attached,
            "caller_speaking": self._analysis.speaking,
            "caller_dbfs": round(self._analysis.level_dbfs, 1) if attached else None,
            "assistant_speaking": self._playback.audible,
            "assistant_dbfs": round(self._playback.level_dbfs, 1) if attached else None,
            "queued_ms": self.queued_ms,
            "target_ms": round(self._playback.target_ms),
            "recorded": self.report.recording is not None,
            **self.report.counts.totals(),
        }

    @property
    def fence(self) -> Fence:
        """Knows which turns were cut: for the writer of the caller's socket."""
        return self._playback.fence

    def lend(self, leg: CallerLeg) -> AbstractContextManager[trio.Event]:
        """Let the call use a socket of the caller for as long as the context is open; the endpoint goes on owning it.

        The event is set when the call does not need it any more: the call is over, the socket is lost, or a newer one
        took its place.
        """
        return self._line.lend(leg)

    def hear(self, audio: CallerAudio) -> None:
        """Use audio of the caller that no socket brings: for a replay. Raises trio.WouldBlock if too much waits."""
        self._line.hear(audio)

    def press(self, key: KeyPressed) -> None:
        """Use a key that came over a stream which is not the caller's any more."""
        self._take(key)

    @property
    def end_reason(self) -> EndReason | None:
        """Why the call ends; None while nothing says that it will."""
        return self._reason

    def tell_of_caller(self, variables: Mapping[str, str]) -> None:
        """More that the assistant is told of the caller, in its calls from now on."""
        if variables:
            self._forwarder.variables = {**self._forwarder.variables, **variables}  # a record holds the old ones
            self.checkpoint.note()

    def told_by_webhook(self, told: WebhookAccepted) -> None:
        """Vapi has said something of a call with the assistant that this one has, or had."""
        if self.report.recording is not None:
            self.report.recording.told_by_webhook(*astuple(told), joined=isinstance(told, WebhookJoined))
        self.report.tell(told)
        self.assistant_cost_usd = added(self.assistant_cost_usd, told.cost_usd)
        if told.ended_reason is not None:
            self.assistant_ended_reason = told.ended_reason
            self._forwarder.told_ended(told.assistant_call_id, told.ended_reason)

    @property
    def assistant_call_id(self) -> str | None:
        """The assistant's id of its call that has the conversation, or had it last."""
        return self._forwarder.assistant_call_id

    @property
    def takes_transfers(self) -> bool:
        """Whether the assistant may connect the caller to anybody."""
        return bool(self._config.transfer.allow)

    def asked_by_webhook(self, action: Action) -> str | None:
        """The assistant asks for this by a webhook. Returns why it is refused; None: it is done."""
        if self.report.recording is not None:
            self.report.recording.asked_by_webhook(action.destination if isinstance(action, Transfer) else None)
        refused = self._departure.ask(action)
        if refused is None:
            self._forwarder.leave()
        return refused

    def note_unanswered(self) -> None:
        """The caller is back from a transfer that nobody answered: the assistant is told so."""
        self._outgoing.send_note(vapi_controls.add_message("system", UNANSWERED_NOTE, trigger_response=True))

    @property
    def transfer_to(self) -> str | None:
        """To whom the caller is connected when the call ends, or has ended; None: to nobody."""
        return self._departure.transfer_to if self._reason is EndReason.TRANSFERRED else None

    def depart(self) -> None:
        """If the assistant transfers the call, that ends it now, whatever is still to be heard."""
        if self._departure.transfer_to is not None:
            self.finish(EndReason.TRANSFERRED)

    @property
    def seems_hung_up(self) -> bool:
        """Whether the call ends only because the caller's side seems to be gone."""
        return self._reason in REFUTABLE

    def grant_reattach(self) -> bool:
        """Whether the caller's stream, which has ended, may be attached again to this call. Counts it if so."""
        return not self._scope.cancel_called and self._line.grant()

    def finish(self, reason: EndReason) -> None:
        """End the call from outside. The first reason stays."""
        if self.report.recording is not None:
            self.report.recording.told_to_end(reason)
        self._finish(reason)

    def let_go(self, notes: Iterable[str]) -> None:
        """Another process has the call now, and knows of these messages for the assistant: end without a word."""
        self.checkpoint.stop()
        missed = Counter(self._outgoing.untold) - Counter(notes)
        self.report.notes_dropped(LEFT, LEFT_ERROR, missed.total())
        self.finish(EndReason.DRAIN)

    def _finish(self, reason: EndReason) -> None:
        self._reason = self._reason or reason
        self.report.status.ended(self._reason)
        self._scope.cancel()

    async def run(self) -> None:
        """Live until the call is over. A crash ends this call only."""
        with bound_contextvars(call_id=self.id), timed_by(self.report.recording):
            self.report.tell(CallStarted(self.sid, self._generation))
            try:
                await self._live()
            except* Exception:
                self._reason = EndReason.ERROR
                self.report.tell(Trouble("relay", "INTERNAL_ERROR", "the relay failed on this call; its log says why"))
                self.report.status.ended(EndReason.ERROR)
                log.exception("call.failed")
            finally:
                self._line.close()
                self._record_end()

    async def _live(self) -> None:
        with deadline("max_duration", self._started_at + self._config.session.max_duration_s) as limit, self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._receive)
                nursery.start_soon(self._analysis.run, self._frames, self._vad)
                nursery.start_soon(self._forward)
                nursery.start_soon(self._playback.run)
                nursery.start_soon(self._watch)
                nursery.start_soon(self._depart)
                if self._second_opinion is not None:
                    nursery.start_soon(self._second_opinion.run)
                nursery.start_soon(self.checkpoint.run, self.report)
        if limit.cancelled_caught:
            self._finish(EndReason.MAX_DURATION)

    def _record_end(self) -> None:
        reason = self._reason or EndReason.DRAIN
        self.checkpoint.note_end(reason, self.transfer_to, self._config.transfer.answer_timeout_s)
        totals = {
            "messages_missing": self._line.messages_missing,
            "messages_reordered": self._line.messages_reordered,
            **self.report.counts.totals(),
        }
        call_id = self._forwarder.assistant_call_id
        self.report.tell(CallEnded(reason, round(self.age_s, 3), self.sid, call_id, totals))
        if self.report.recording is not None:
            self.report.recording.end()

    async def _receive(self) -> None:
        """It ends when the call does, and then gives the socket back, while the assistant is still told goodbye."""
        try:
            await self._line.run(self._take)
            self._finish(EndReason.CALLER_LOST)
        finally:
            self._line.close()

    def _take(self, event: CallerEvent) -> None:
        match event:
            case Heard(turn=turn, position_ms=position_ms):
                if self.report.recording is not None:
                    self.report.recording.mark_returned(turn, position_ms)
                self._playback.heard(turn, position_ms)
            case KeyPressed(digit=digit):
                lost_by = (LEFT,) if self.checkpoint.stopped else ()
                if self.report.recording is not None:
                    self.report.recording.caller_note("key", *lost_by)
                self.report.tell(KeyWasPressed())
                if lost_by:
                    self.report.notes_dropped(LEFT, LEFT_ERROR)
                else:
                    self._outgoing.send_note(vapi_controls.dtmf_note(digit))
            case Dropped(cause=cause):
                if self.report.recording is not None:
                    self.report.recording.caller_note("dropped", cause)
                self.report.counts.dropped(cause)
            case TooManyMalformed():
                self.report.tell(CallerCutOff())
                self._finish(EndReason.PROTOCOL_ERROR)
            case CallerGone():
                if self.report.recording is not None:
                    self.report.recording.caller_note("hung_up")
                self._finish(EndReason.CALLER_HANGUP)

    async def _forward(self) -> None:
        reason = await self._forwarder.run(self.id)
        end_reason = self._departure.end_reason or reason
        self._reason = self._reason or end_reason
        await self._last_words.say(reason)
        self._finish(end_reason)

    async def _depart(self) -> None:
        self._finish(await self._departure.run())

    async def _watch(self) -> None:
        """Nobody came, or nobody speaks: both have an end."""
        with deadline("start", current_time() + self._config.twilio.token_ttl_s) as limit:
            await self._line.until_attached()
        if limit.cancelled_caught:
            self._finish(EndReason.CALLER_LOST)
        while (idle_at := self._idle_at()) > current_time():
            await sleep_until(idle_at, "idle")
        self._finish(EndReason.IDLE)

    def _idle_at(self) -> float:
        last_speech_at = max(self._analysis.last_speech_at, self._playback.speaker.last_audible_at)
        return last_speech_at + self._config.session.idle_timeout_s


def added(cost_usd: float | None, more_usd: float | None) -> float | None:
    """Both costs together, of which either may not be known."""
    return cost_usd if more_usd is None else (cost_usd or 0.0) + more_usd
