"""Sets a recorded call up: the real call and its sides, as they were when the recording began."""

from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from math import inf

import trio

from relay.call.assistant.pool import AssistantPool
from relay.call.call import Call
from relay.call.caller.classifier import Opinion
from relay.call.caller.leg import CallerAudio, CallerEvent, CallerGone, Dropped, Heard, KeyPressed
from relay.call.checkpoint import new_record
from relay.call.playback.speaker import Burden
from relay.call.report.assistant_events import WebhookAccepted, WebhookJoined
from relay.call.services import Services
from relay.config import Config
from relay.errors import AssistantUnavailable, CannotReplay, LegLost, MessageUnsupported, RemoteProtocolError
from relay.logic.end_reason import EndReason
from relay.media.frames import Audio, AudioFormat, Encoding
from relay.metrics import Metrics
from relay.record.call_recording import CallRecording
from relay.record.entries import (
    AskedByWebhook,
    AssistantConnected,
    AssistantGone,
    CallerLent,
    CallerNote,
    CallerSocketGone,
    CallStood,
    Dialled,
    DialRefused,
    FromAssistant,
    FromCaller,
    ManyCalls,
    MarkReturned,
    OpinionGiven,
    ReattachAsked,
    RecordingHeader,
    SpeechScore,
    SpeechSkipped,
    TextFromAssistant,
    Timed,
    ToldByWebhook,
    ToldToEnd,
)
from relay.replay.assistants import RecordedConnections, RecordedDialer, RecordedPlacer
from relay.replay.peers import RecordedLane, RecordedLeg, RecordedOpinions, WriteGate
from relay.state import CallRecord
from relay.wire.vapi_actions import HangUp, Transfer
from relay.wire.vapi_call import CallCreated

KEY = "0"
"""Which key was pressed is not recorded."""


@dataclass
class ReplayStage:
    """A call on its stage. `give` lets its sides do what an entry of the recording says."""

    call: Call
    recording: CallRecording
    lane: RecordedLane
    connections: RecordedConnections
    opinions: RecordedOpinions
    burden: Burden
    gate: WriteGate
    clock_s: float
    caller_format: AudioFormat
    leg: RecordedLeg | None = None
    _lent: ExitStack = field(default_factory=ExitStack)

    @property
    def is_browser(self) -> bool:
        return is_browser(self.call.sid)

    def take_back(self) -> None:
        """The caller's socket is the call's no more, if there is one."""
        self._lent.close()
        self.leg = None

    def give(self, entry: Timed) -> None:
        """What came from outside comes again. Entries of other kinds change nothing."""
        match entry:
            case FromCaller(at_s, stamp_ms, missing, data, _):
                # It may have been used only when its socket was gone.
                self.call.hear(CallerAudio(stamp_ms, data, self.clock_s + at_s, missing))
            case MarkReturned(_, turn, position_ms):
                self._receive(Heard(turn, position_ms))
            case CallerNote(_, "key", (_,)):
                self.call.checkpoint.stop()  # the next process had the call already, and the key was lost
                self._receive(KeyPressed(KEY))
            case CallerNote():
                self._receive(_event(entry))
            case CallerLent(_, joins_frames):
                self._lend(joins_frames=joins_frames)
            case CallerSocketGone(_, None):
                self.take_back()
            case CallerSocketGone(_, str(error)):
                self._receive(LegLost(error))
            case ReattachAsked():
                self.call.grant_reattach()
            case ToldToEnd(_, reason):
                self.call.finish(EndReason(reason))
            case ToldByWebhook(_, kind, assistant_call_id, ended_reason, joined, cost_usd):
                told = WebhookJoined if joined else WebhookAccepted
                self.call.told_by_webhook(told(kind, assistant_call_id, ended_reason, cost_usd))
            case AskedByWebhook(_, destination):
                self.call.asked_by_webhook(HangUp() if destination is None else Transfer(destination))
            case Dialled(_, number, call_id, encoding, rate_hz):
                granted = AudioFormat(Encoding(encoding), rate_hz)
                self.connections.dialled(number, CallCreated(call_id, str(number), None, granted))
            case DialRefused(_, number, error, code, retriable, locked_out_s):
                refused = AssistantUnavailable(error, code, retriable=retriable, locked_out_s=locked_out_s)
                self.connections.dialled(number, refused)
            case AssistantConnected(_, number):
                self.connections.connected(number)
            case AssistantGone(_, number, error, close_code):
                self.connections.gone(number, LegLost(error, close_code))
            case FromAssistant(_, _, message, number) | TextFromAssistant(_, _, message, number):
                self.connections.get(number).socket.give(message)
            case SpeechScore(_, _, probability, bound):
                self.lane.judge(probability, inf if bound is None else bound)
            case SpeechSkipped():
                self.lane.skip()
            case OpinionGiven(_, interrupts, probability):
                self.opinions.give(Opinion("interruption" if interrupts else "none", probability))
            case ManyCalls(_, many):
                self.burden.many_calls = many

    def _receive(self, event: CallerEvent | Exception) -> None:
        if self.leg is not None:
            self.leg.give(event)

    def _lend(self, *, joins_frames: bool) -> None:
        before = self._lent
        self.leg = RecordedLeg(self.caller_format, self.gate, joins_frames=joins_frames, browser=self.is_browser)
        self._lent = ExitStack()
        self._lent.enter_context(self.call.lend(self.leg))
        before.close()


def _event(note: CallerNote) -> CallerEvent | Exception:
    match note:
        case CallerNote(_, "key"):
            return KeyPressed(KEY)
        case CallerNote(_, "hung_up"):
            return CallerGone()
        case CallerNote(_, "dropped", (cause,)):
            return Dropped(cause)  # type: ignore[arg-type]
        case CallerNote(_, "unsupported", (code, text)):
            return MessageUnsupported(text, code)
        case CallerNote(_, _, (code, text)):
            return RemoteProtocolError(text, code)
    raise ValueError(note)


def is_browser(call_sid: str) -> bool:
    """Whether the caller is a browser, and no telephone."""
    return call_sid.startswith("browser-")


def caller_format_of(header: RecordingHeader) -> AudioFormat:
    """The format of the caller's audio, both ways."""
    return AudioFormat(Encoding(header.caller_encoding), header.caller_rate_hz)


class OneRecorder:
    """Has one recording, for the one call of a replay."""

    def __init__(self, recording: CallRecording) -> None:
        self._recording = recording

    def begin(self, *_of_what: object, **_more: object) -> CallRecording:
        return self._recording


def record_at_start(header: RecordingHeader, entries: Sequence[Timed], config: Config) -> CallRecord:
    """How the call stood when this recording of it began. Raises CannotReplay if that is not known."""
    if entries and isinstance(first := entries[0], CallStood):
        try:
            return CallRecord.from_plain(first.state)
        except ValueError:
            raise CannotReplay(f"version {header.program_version} recorded in another way how the call stood") from None
    if header.goes_on:
        raise CannotReplay("the call began in another process, and how it stood there is not recorded")
    new = new_record(header.call_sid, config, config.assistants[0].name, header.clock_s or 0.0)
    return replace(new, call_id=header.call_id)


@asynccontextmanager
async def open_stage(
    header: RecordingHeader,
    config: Config,
    record: CallRecord,
    recording: CallRecording,
    gate: WriteGate,
    *,
    apology: Audio | None,
) -> AsyncIterator[ReplayStage]:
    """The call, running, as it was when the recording began: trio's clock must say `header.clock_s`, and `record` how
    the call stood.

    What the call does is taken down in `recording`. On leaving, it is over, or is cancelled.
    """
    assert header.clock_s is not None
    lane, opinions, burden = RecordedLane(), RecordedOpinions(), Burden()
    connections = RecordedConnections(gate)
    dialers = [
        RecordedDialer(
            it.name,
            AudioFormat(Encoding(it.audio_format), it.sample_rate_hz),
            it.max_call_s if 0 < it.max_call_s < config.session.max_duration_s else None,
            connections,
        )
        for it in config.assistants
    ]
    pool = AssistantPool(dialers, RecordedPlacer(connections))
    classifier = opinions if config.barge_in.classifier else None
    services = Services(config, Metrics(), lane, None, apology, classifier, OneRecorder(recording))
    caller_format = caller_format_of(header)
    async with trio.open_nursery() as nursery:
        call = Call(record, services, pool, caller_format, None, burden=burden)
        nursery.start_soon(call.run)
        stage = ReplayStage(call, recording, lane, connections, opinions, burden, gate, header.clock_s, caller_format)
        try:
            yield stage
        finally:
            stage.take_back()
        nursery.cancel_scope.cancel()
