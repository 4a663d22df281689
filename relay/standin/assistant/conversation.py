"""A conversation turns what the caller sends into what the assistant sends, without a socket and on a given clock."""

import json
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from relay.standin.assistant.acts import FAREWELLS, REQUESTS, Act, Doing
from relay.standin.assistant.behaviour import Behaviour
from relay.standin.assistant.bodies import assistant_json
from relay.standin.assistant.brain import Brain, Speak
from relay.standin.assistant.chunks import Chunks
from relay.standin.assistant.ear import Ear, SpeechStarted, SpeechStopped
from relay.standin.assistant.hooks import Reply
from relay.standin.assistant.inbound import Message, Unacceptable, parse
from relay.standin.assistant.loopback import Loopback
from relay.standin.assistant.mouth import Mouth, Utterance
from relay.standin.assistant.narrator import Narrator
from relay.standin.assistant.order import Order
from relay.standin.assistant.script import Voice, script_of
from relay.standin.assistant.timers import EndOfCall, Timers
from relay.standin.assistant.unsettled import PaceCheck
from relay.standin.sound import SPEECH_HZ, encode, tone

_STOP_TOLD_S = 0.5
"""The end of the caller's words is told behind the beginning of the answer, or so late if that comes later."""
_HANG_AFTER_S = 1.5
"""Vapi's `hang` says that an answer is slow."""
HUM_HZ = 120.0
HUM_PEAK = 0.02
"""The background sound."""
_WORKER_DIED = "call.in-progress.error-vapifault-worker-died"


@dataclass(slots=True)
class Pending:
    """An answer that is being thought of. `hang_at_s`: when `hang` is sent before it; None: not, or not any more."""

    speak: Speak
    at_s: float
    hang_at_s: float | None
    act: Act | None = None


@dataclass(slots=True)
class AssistantConversation:
    """One call of the assistant. Feed it with `receive_audio`, `receive_text` and `tick`; send what is in `outbox`.

    Times are seconds on one monotonic clock. Once `ending` is set, what is still in `outbox` is sent, and the socket
    is closed as it says.
    """

    order: Order
    behaviour: Behaviour
    opened_s: float
    outbox: deque[str | bytes] = field(default_factory=deque)
    context: list[Message] = field(default_factory=list)
    ending: EndOfCall | None = None
    narrator: Narrator = field(init=False)
    chunks: Chunks = field(init=False)
    _last_uplink_s: float = field(init=False)
    _timers: Timers = field(init=False)
    _ear: Ear = field(init=False)
    _pace: PaceCheck = field(init=False)
    _mouth: Mouth = field(init=False)
    _brain: Brain = field(init=False)
    _voice: Voice = field(init=False)
    _loopback: Loopback | None = None
    _acts: Iterator[Act] = field(init=False)
    _pending: Pending | None = None
    _doing: Doing | None = None
    _asked: Message | None = None
    _then: Speak | None = None
    _tell_stop_s: float = math.inf
    _in_progress: bool = False
    _mouth_open: bool = False
    _caller_muted: bool = False
    _end_after: Utterance | None = None

    def __post_init__(self) -> None:
        form, behaviour = self.order.format, self.behaviour
        self._last_uplink_s = self.opened_s
        self._acts = iter(behaviour.acts)
        self.narrator = Narrator(self.order, behaviour, self.outbox)
        self.chunks = Chunks(form, behaviour.chunking, behaviour.seed)
        self._timers = Timers(self.order, self.opened_s, behaviour.unsettled.uplink_gap_s)
        self._ear = Ear(form, behaviour.detect_after_ms)
        self._pace = PaceCheck(form.rate_hz * form.block_bytes)
        hums = behaviour.unsettled.background and "backgroundSound" not in self.order.overrides
        self._mouth = Mouth(
            form,
            self.chunks,
            silence=behaviour.downlink_silence,
            burst=behaviour.burst,
            background=encode(tone(HUM_HZ, 1.0, peak=HUM_PEAK), SPEECH_HZ, form) if hums else b"",
        )
        self._voice = Voice(form, behaviour)
        self._brain = Brain(
            script_of(behaviour.script),
            speaks_first=self.order.speaks_first,
            first_is_interruptible=self.order.first_is_interruptible,
            agrees=behaviour.agree,
            answers_interruptions=behaviour.answer_interruption or behaviour.script in ("tone", "file"),
        )
        if behaviour.script == "echo":
            self._loopback = Loopback(self.chunks, behaviour.echo_delay_ms)

    def receive_audio(self, data: bytes, now_s: float) -> None:
        """Audio of the caller, in the call's format; a message may end within a sample."""
        self._last_uplink_s = now_s
        fast = self.behaviour.unsettled.fast_uplink
        if fast != "heard" and self._pace.is_fast(len(data), now_s):
            if fast == "closed":
                self.ending = self.ending or EndOfCall("pipeline-error-audio-too-fast", "bare")
            return
        if self._loopback is not None:
            self._timers.active(now_s)
            self._loopback.hear(data, now_s)
            return
        # A muted caller is heard as silence, so that the ear's clock, which counts bytes, goes on.
        for heard in self._ear.feed(self.order.format.silence(len(data)) if self._caller_muted else data):
            self._timers.active(now_s)
            if isinstance(heard, SpeechStarted):
                self._caller_started(now_s)
            else:
                self._caller_stopped(heard, now_s)

    def receive_text(self, text: str, now_s: float) -> None:
        """A text message on the socket; one that Vapi does not know ends the call without a close code."""
        try:
            message = parse(text)
        except Unacceptable as error:
            if self.behaviour.unsettled.unknown_message == "ignore":
                return
            self.ending = self.ending or EndOfCall("pipeline-error-unknown-message", "bare", str(error))
        else:
            self.obey(message, now_s)

    def obey(self, message: Message, now_s: float) -> None:
        """A checked message, from the socket or from the control URL."""
        match message["type"]:
            case "end-call" | "hangup":
                self.end("customer-ended-call")
            case "add-message":
                self.context.append(message["message"])
                self._brain.was_told(message["message"]["role"])
                # Nothing here understands text: a tone stands for the answer.
                if message.get("triggerResponseEnabled", True):
                    self._beep(f"Noted: {message['message']['content']}", now_s)
            case "append-context":
                self.context.append({"role": "system", "content": message["content"]})
            case "say":
                if message.get("interruptAssistantEnabled", False):
                    self._mouth.cut(now_s, 0)
                said = self._beep(message["content"], now_s)
                self._end_after = said if message.get("endCallAfterSpoken", False) else None
            case "control":
                self._control(message["control"], now_s)

    def end(self, reason: str, how: Literal["normal", "gone"] = "normal") -> None:
        """End the call in order: `status-update` first, then the close."""
        if self.ending is None:
            self._say_farewell(reason)
            self.ending = EndOfCall(reason, how)

    def _say_farewell(self, reason: str) -> None:
        told = {"type": "status-update", "status": "ended", "endedReason": reason}
        match self.behaviour.unsettled.farewell:
            case "reason":
                self.narrator.tell(told)
            case "no reason":
                self.narrator.tell({"type": "status-update", "status": "ended"})
            case "report":
                self.narrator.tell(told)
                self.outbox.append(json.dumps({"type": "end-of-call-report", "endedReason": reason}))

    def client_gone(self) -> None:
        """The client has closed the socket, which ends the call or leaves it alone (`Behaviour.ends_with_socket`)."""
        if self.behaviour.ends_with_socket:
            self.end("customer-ended-call", "gone")
        else:
            self.ending = self.ending or EndOfCall("silence-timed-out", "lost")

    def break_off(self) -> None:
        """End it without a word, as when Vapi's worker dies."""
        self.ending = self.ending or EndOfCall(_WORKER_DIED, "drop")

    def tick(self, now_s: float) -> None:
        """Everything that is due by now."""
        if self.ending is not None:
            return
        ending = self._timers.check(now_s, self._last_uplink_s)
        if ending is not None and ending.how == "normal":
            self.end(ending.reason)
        elif ending is not None:
            self.ending = ending
        else:
            self._begin(now_s)
            self._think(now_s)
            self._follow_mouth(now_s)
            self.outbox += self._loopback.due(now_s) if self._loopback is not None else self._mouth.due(now_s)

    def _begin(self, now_s: float) -> None:
        if not self._in_progress and now_s >= self.opened_s + self.behaviour.in_progress_ms / 1000:
            self._in_progress = True
            self.narrator.tell({"type": "status-update", "status": "in-progress"})
            self.narrator.tell({"type": "assistant.started", "newAssistant": assistant_json(self.order.assistant_id)})
        if not self._mouth_open and now_s >= self.opened_s + self.behaviour.first_audio_ms / 1000:
            self._mouth_open = True
            self._mouth.open(now_s)
            self._say(self._brain.begin(), now_s)

    def _think(self, now_s: float) -> None:
        if self._pending is None:
            return
        if self._pending.hang_at_s is not None and now_s >= self._pending.hang_at_s:
            self._pending.hang_at_s = None
            self.narrator.tell({"type": "hang"})
        if now_s >= self._pending.at_s:
            pending, self._pending = self._pending, None
            if pending.act is None:
                self._say(pending.speak, now_s)
            else:
                self._begin_act(pending.act, pending.speak, now_s)

    def _begin_act(self, act: Act, then: Speak, now_s: float) -> None:
        self._doing, self._then = Doing(act, self.narrator.last_user_text), then
        if self._doing.is_for_telephone:
            self._leave(self._doing, now_s)
            return
        self._asked = request = self._doing.request()
        if request is not None:
            self.narrator.tell(request)
        if request is None or "server" not in self.order.overrides or not self.order.hooks_want(request):
            self._end_act(None, now_s)

    def _leave(self, doing: Doing, now_s: float) -> None:
        """The telephone is told what to do, while a farewell is said; behind it a call ends that was to be hung up."""
        self._doing = self._then = None
        request = doing.telephone_request(self.behaviour.unsettled.asks_by)
        if request["type"] in REQUESTS:  # a tool of Vapi's own asks no webhook
            self.outbox.append(json.dumps(request))
        else:
            self.narrator.tell(request)
        said = self._beep(FAREWELLS[doing.act.kind], now_s)
        self._end_after = said if doing.act.kind == "hang_up" else None

    def answered(self, request: Message, reply: Reply, now_s: float) -> None:
        """The webhook's reply to this request of the model; None: there is none. One that came too late is ignored."""
        if request is self._asked:
            self._end_act(reply, now_s)

    def _end_act(self, reply: Reply, now_s: float) -> None:
        doing, then, self._doing, self._then, self._asked = self._doing, self._then, None, None, None
        if doing is None or self.ending is not None:
            return
        if doing.act.kind == "tool":
            result = doing.result(reply)
            self.context.append({"role": "tool", "content": result})
            self._beep(result, now_s)
            return
        for update in doing.updates(reply, self.narrator.assistant_id):
            self.narrator.tell(update)
            if update["type"] == "assistant.started":
                self.narrator.assistant_id = update["newAssistant"]["id"]
        self._say(then, now_s)

    def _follow_mouth(self, now_s: float) -> None:
        """Tell what has been said by now, and notice when it is over."""
        finished = self._mouth.finished(now_s)
        if finished is not None:
            self.narrator.assistant_finished(finished)
            if finished is self._end_after:
                self.end("assistant-ended-call")
            self._brain.finished_speaking(more=self._mouth.utterance is not None)
        utterance = self._mouth.utterance
        if utterance is not None:
            self._timers.active(now_s)
            self.narrator.assistant_progress(utterance, self._mouth.clock_bytes(now_s))
        if now_s >= self._tell_stop_s:
            self._tell_stop_s = math.inf
            self.narrator.user_stop_told()

    def _caller_started(self, now_s: float) -> None:
        self._pending = self._doing = self._asked = None
        utterance = self._mouth.utterance
        self.narrator.user_started(interrupts=utterance is not None)
        if self._brain.user_started() is not None and utterance is not None:
            self._mouth.cut(now_s, self.behaviour.stop_lag_ms)
            self.narrator.interrupted(utterance)

    def _caller_stopped(self, heard: SpeechStopped, now_s: float) -> None:
        self._voice.caller_said = heard.audio
        self.narrator.user_stopped()
        self._tell_stop_s = now_s + _STOP_TOLD_S
        speak = self._brain.user_stopped()
        if speak is not None:
            think_s = self.behaviour.think_ms / 1000
            hang_at_s = now_s + _HANG_AFTER_S if think_s >= _HANG_AFTER_S else None
            self._pending = Pending(speak, now_s + think_s, hang_at_s, next(self._acts, None))
        else:
            self.narrator.user_stop_told()

    def _say(self, speak: Speak | None, now_s: float) -> None:
        if speak is not None:
            text, data = self._voice.sound(speak, self.narrator.last_user_text)
            self._mouth.say(self.narrator.turn, text, data, now_s)

    def _beep(self, text: str, now_s: float) -> Utterance:
        self._brain.spoke_up()
        return self._mouth.say(self.narrator.turn, text, self._voice.beep(text), now_s)

    def _control(self, control: str, now_s: float) -> None:
        match control:
            case "mute-assistant" | "unmute-assistant":
                self._mouth.muted = control == "mute-assistant"
            case "mute-customer" | "unmute-customer":
                self._caller_muted = control == "mute-customer"
            case "say-first-message":
                self._say(self._brain.begin_again(), now_s)
