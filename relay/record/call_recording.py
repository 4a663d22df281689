"""Takes down what happens in one call, in memory, until the recorder fetches it: one cheap step for each thing.

What is taken down holds no secret: texts and events are cleaned here, as long as the addresses of the call are known.
"""

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec
import structlog
import trio

from relay.errors import AssistantUnavailable
from relay.media.frames import AudioFormat
from relay.record.backlog import Backlog
from relay.record.entries import (
    ENTRY_BYTES,
    AskedByWebhook,
    AssistantConnected,
    AssistantGone,
    BufferTarget,
    CallerLent,
    CallerNote,
    CallerOutboxGone,
    CallerSocketGone,
    CallStood,
    ClearSent,
    ClockSeen,
    Dialled,
    DialRefused,
    FromAssistant,
    FromCaller,
    ManyCalls,
    MarkReturned,
    MarkSent,
    OpinionGiven,
    PingAnswered,
    ReattachAsked,
    Recorded,
    RecordingEnd,
    RecordingHeader,
    SpeechScore,
    SpeechSkipped,
    TextFromAssistant,
    TextToAssistant,
    Timed,
    ToAssistant,
    ToCaller,
    Told,
    ToldByWebhook,
    ToldToEnd,
    Woke,
    happened_s,
)
from relay.record.troubles import Troubles
from relay.redaction import Redactor
from relay.wakeup import whose_turn

AT_ONCE_S = 0.0001
STALL_S = 0.0005
"""A step takes less, on a machine that is not held up. What comes due within it may be seen otherwise in a replay."""


_read_message = msgspec.json.Decoder(dict[str, Any]).decode
log = structlog.get_logger(__name__)


class CallRecording:
    """One per call that is recorded. Nothing in it waits or fails. It is the `relay.wakeup.Timekeeper` of the call.

    `moment` is the time of trio's clock at which the recording began; `backlog` counts what waits; `failed` is called
    when it is given up.
    """

    def __init__(
        self,
        header: RecordingHeader,
        redactor: Redactor,
        moment: float,
        backlog: Backlog,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        self.call_id = header.call_id
        self.troubles = Troubles()
        self.is_over = False
        """The call has ended."""
        self.kept_anyway = False
        """Also where nothing went wrong."""
        self.waiting_bytes = 0
        """For the backlog."""
        self._given_up = False
        self._failed = failed
        self._moment = moment
        self._redactor = redactor
        self._entries: list[Recorded] = [header]
        self._connections = 0
        self._many_calls = False
        self._step_s = 0.0
        self._looks: dict[int, int] = {}
        self._known_s: dict[int, float] = {}
        """Of each task in this step, by its id: the order of the tasks within a step is chance."""
        self._target_ms = -1
        self._backlog = backlog

    def take(self) -> Sequence[Recorded]:
        """What was taken down since the last time."""
        taken, self._entries = self._entries, []
        self._backlog.take(self)
        return taken

    def give_up(self, why: str) -> None:
        """Take down nothing more but troubles; what is not fetched is lost. The first reason is logged."""
        if not self._given_up:
            log.warning("record.failed", call_id=self.call_id, error=why)
            self._failed()
        self._given_up = True
        self._entries = []
        self._backlog.drop(self)

    def end(self) -> None:
        """The call is over."""
        self._add(RecordingEnd(self._now(), "ended"))
        self.is_over = True

    def from_caller(self, arrived_at: float, stamp_ms: float | None, missing: int, data: bytes) -> None:
        at_s, now_s = arrived_at - self._moment, self._now()
        used_s = now_s if now_s - at_s > AT_ONCE_S else None
        self._add_step(FromCaller(at_s, stamp_ms, missing, data, used_s), len(data))

    def to_caller(
        self, sent_at: float, turn: int, position_ms: int, data: bytes, *, audible: bool, queued_ms: int
    ) -> None:
        at_s = sent_at - self._moment
        if audible:
            self.troubles.sound_sent(at_s)
        self._add_known(ToCaller(at_s, turn, position_ms, audible, queued_ms, data), len(data))

    def buffer_target(self, sent_at: float, target_ms: int) -> None:
        """How much is to wait in the relay, as it is when a frame is sent."""
        if target_ms != self._target_ms:
            self._target_ms = target_ms
            self._add(BufferTarget(sent_at - self._moment, target_ms))

    def mark_sent(self, turn: int, position_ms: int, sent_at: float) -> None:
        self._add_known(MarkSent(sent_at - self._moment, turn, position_ms))

    def mark_returned(self, turn: int, position_ms: int) -> None:
        self._add_step(MarkReturned(self._now(), turn, position_ms))

    def clear_sent(self, sent_at: float) -> None:
        self._add_known(ClearSent(sent_at - self._moment))

    def from_assistant(self, message: bytes | str, *, has_floor: bool, connection: int = 0) -> None:
        if isinstance(message, bytes):
            self._add_step(FromAssistant(self._now(), has_floor, message, connection), len(message))
        else:
            text = self._redactor.text(message)
            self._add_step(TextFromAssistant(self._now(), has_floor, text, connection), len(text))

    def to_assistant(self, message: bytes | str, connection: int = 0) -> None:
        if isinstance(message, bytes):
            self._add_known(ToAssistant(self._now(), len(message), zlib.crc32(message), connection))
        else:
            self._add_known(TextToAssistant(self._now(), _read_type(message), connection))

    def speech_score(self, end_ms: float, probability: float, voice_bound: float = math.inf) -> None:
        bound = None if voice_bound == math.inf else voice_bound
        self._add_step(SpeechScore(self._now(), end_ms, probability, bound))

    def speech_skipped(self) -> None:
        self._add_step(SpeechSkipped(self._now()))

    # -- what else came from outside, for a replay

    def stood(self, state: Mapping[str, Any]) -> None:
        """The call begins, or goes on, from this state."""
        self._add(CallStood(self._now(), self._redactor.clean_event(state)), ENTRY_BYTES)

    def caller_lent(self, *, joins_frames: bool) -> None:
        self._add_step(CallerLent(self._now(), joins_frames))

    def caller_socket_gone(self, error: str | None) -> None:
        self._add_step(CallerSocketGone(self._now(), error))

    def caller_outbox_gone(self) -> None:
        self._add(CallerOutboxGone(self._now()))

    def caller_note(self, what: Literal["key", "hung_up", "dropped", "malformed", "unsupported"], *text: str) -> None:
        self._add_step(CallerNote(self._now(), what, tuple(self._redactor.text(part) for part in text)))

    def reattach_asked(self) -> None:
        self._add_step(ReattachAsked(self._now()))

    def told_to_end(self, reason: str) -> None:
        self._add_step(ToldToEnd(self._now(), reason))

    def told_by_webhook(
        self,
        kind: str,
        assistant_call_id: str | None,
        ended_reason: str | None,
        cost_usd: float | None,
        *,
        joined: bool,
    ) -> None:
        self._add_step(ToldByWebhook(self._now(), kind, assistant_call_id, ended_reason, joined, cost_usd))

    def asked_by_webhook(self, destination: str | None) -> None:
        self._add_step(AskedByWebhook(self._now(), destination))

    def new_connection(self) -> int:
        """The number of a connection with an assistant that begins now."""
        self._connections += 1
        return self._connections

    def dialled(self, connection: int, call_id: str, granted: AudioFormat) -> None:
        self._add_step(Dialled(self._now(), connection, call_id, granted.encoding, granted.rate_hz))

    def dial_refused(self, connection: int, error: AssistantUnavailable) -> None:
        text = self._redactor.text(str(error))
        self._add_step(DialRefused(self._now(), connection, text, error.code, error.retriable, error.locked_out_s))

    def assistant_connected(self, connection: int) -> None:
        self._add_step(AssistantConnected(self._now(), connection))

    def assistant_gone(self, connection: int, error: str, close_code: int | None) -> None:
        self._add_step(AssistantGone(self._now(), connection, self._redactor.text(error), close_code))

    def ping_answered(self, connection: int, round_trip_s: float) -> None:
        self._add(PingAnswered(self._now(), connection, round(round_trip_s * 1000, 1)))

    def opinion(self, *, interrupts: bool, probability: float | None) -> None:
        self._add_step(OpinionGiven(self._now(), interrupts, probability))

    def many_calls(self, *, many: bool) -> None:
        """Whether the process carries many calls, as it is when a frame is sent."""
        if many != self._many_calls:
            self._many_calls = many
            self._add(ManyCalls(self._now(), many))

    # -- the waits of the call

    holds = False

    def scope(self, _name: str, at: float) -> trio.CancelScope:
        return trio.CancelScope(deadline=at)

    def knows(self, _name: str) -> bool:
        return False

    def passed(self, name: str) -> None:
        self._add_step(Woke(self._now(), name))

    def look(self) -> float:
        """The time of trio's clock; taken down where a replay could not know that it has gone on so far."""
        now = trio.current_time()
        task = id(trio.lowlevel.current_task())
        self._looks[task] = looks = self._looks.get(task, 0) + 1
        at_s = now - self._moment
        if at_s - self._known_s.get(task, self._step_s) > STALL_S:
            self._add_known(ClockSeen(at_s, whose_turn(), looks))
        return now

    def told(self, name: str, values: Mapping[str, Any]) -> None:
        at_s = self._now()
        self.troubles.told(at_s, name, values)
        self._add(Told(at_s, name, self._redactor.clean_event(values)), ENTRY_BYTES)

    def _now(self) -> float:
        return trio.current_time() - self._moment

    def _add_step(self, entry: Timed, n_bytes: int = 0) -> None:
        """Something came from outside, or a wait was over: what the call does now follows from it."""
        self._looks.clear()
        self._known_s.clear()
        self._step_s = happened_s(entry)
        self._add(entry, n_bytes)

    def _add_known(self, entry: Timed, n_bytes: int = 0) -> None:
        """The running task did something: in a replay it will go on from this time."""
        self._known_s[id(trio.lowlevel.current_task())] = entry.at_s
        self._add(entry, n_bytes)

    def _add(self, entry: Recorded, n_bytes: int = 0) -> None:
        if self._given_up or self.is_over:
            return
        self._entries.append(entry)
        self._backlog.add(self, ENTRY_BYTES + n_bytes)


class CallRecorder(Protocol):
    """Has the recordings of calls."""

    def begin(
        self, call_id: str, call_sid: str, caller: AudioFormat, assistant: AudioFormat, *, goes_on: bool = False
    ) -> CallRecording:
        """Record a call from now on. `assistant` is the format that is asked for. `goes_on`: another process had it."""


def _read_type(message: str) -> str:
    return str(_read_message(message).get("type"))
