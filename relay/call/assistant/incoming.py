"""Takes what the assistant sends: its audio goes to playback, its text messages to playback, dialogue and report."""

import math
from collections.abc import Callable

import trio

from relay.call.playback.dialogue import Dialogue
from relay.call.playback.playback import Playback
from relay.call.report.assistant_events import AssistantHungUp, HandedOff, Said, UnknownMessage
from relay.call.report.events import Speech
from relay.call.report.report import Report
from relay.errors import LegLost, RemoteProtocolError
from relay.logic.assistant.liveness import Liveness
from relay.media.aligner import SampleAligner
from relay.media.frames import AudioFormat
from relay.net.sockets import MessageSocket
from relay.wakeup import current_time, sleep_until
from relay.wire import vapi
from relay.wire.vapi_actions import Action


class Incoming:
    """The reader of one connection. Each has its own, so that what a lost connection still says goes nowhere.

    A connection has the floor, as a speaker in a conference has, while the conversation is held over it.
    """

    def __init__(
        self,
        audio_format: AudioFormat,
        playback: Playback,
        dialogue: Dialogue,
        report: Report,
        *,
        handed_off: Callable[[str | None], None] = lambda _: None,
        asked: Callable[[Action], object] = lambda _: None,
        number: int = 0,
    ) -> None:
        """`audio_format` is the assistant's, if it is granted what is asked for. `handed_off` is told the id of the
        assistant that is on the line now, None when it is not known, and `asked` what the assistant wants of the
        telephone. `number` is the connection's in a recording."""
        self.number = number
        self._handed_off = handed_off
        self._asked = asked
        self._samples = SampleAligner(audio_format)
        self._playback = playback
        self._dialogue = dialogue
        self._report = report
        self._has_floor = False
        self.began = trio.Event()
        """The assistant says, or shows, that it listens."""
        self.busy = False
        """It speaks, or is about to: it has said so, or waits for what a function gives."""
        self._liveness = Liveness()

    def listen_to(self, audio_format: AudioFormat) -> None:
        """The assistant will send this format."""
        self._samples = SampleAligner(audio_format)

    def take_floor(self) -> None:
        """From now on the caller hears what the assistant says."""
        self._has_floor = True

    def leave_floor(self) -> None:
        """From now on nobody does."""
        self._has_floor = False

    async def run(self, socket: MessageSocket) -> vapi.StatusUpdate:
        """Read until a message says that the assistant has ended the call, which is returned.

        Raises LegLost or LegClosed from the socket. May be cancelled.
        """
        return await socket.receive_each(self._hear, self._wanted_at)

    def _wanted_at(self) -> float:
        return self._playback.intake.wanted_at() if self._has_floor else -math.inf

    def _hear(self, message: str | bytes) -> vapi.StatusUpdate | None:
        return self._take(message) if self._has_floor else self._overhear(message)

    def _take(self, message: str | bytes) -> vapi.StatusUpdate | None:
        self._liveness.message()
        if (recording := self._report.recording) is not None:
            recording.from_assistant(message, has_floor=True, connection=self.number)
        if isinstance(message, bytes):
            if not self.began.is_set():
                self.began.set()
            audible = self._playback.intake.push(self._samples.push(message))
            self._liveness.audio(current_time(), audible=audible)
            return None
        event = self._parse(message)
        return None if event is None else self._handle(event)

    def _overhear(self, message: str | bytes) -> vapi.StatusUpdate | None:
        """For a connection that has the conversation not yet, or not any more: nobody hears what it says, but half a
        sample waits for its other half."""
        self._liveness.message()
        if (recording := self._report.recording) is not None:
            recording.from_assistant(message, has_floor=False, connection=self.number)
        if isinstance(message, bytes):
            self.began.set()
            self._liveness.audio(current_time(), audible=True)
            self._samples.push(message)
            return None
        event = self._parse(message)
        return self._note_status(event) if isinstance(event, vapi.StatusUpdate) else None

    async def watch(self, answer_timeout_s: float, audio_timeout_s: float) -> None:
        """Until cancelled. Raises LegLost when no message ever comes, or a steady stream of audio does not go on."""
        name = f"liveness-{self.number}"
        await sleep_until(current_time() + answer_timeout_s, name)
        if not self._liveness.answered:
            raise LegLost(f"not a word from the assistant in {answer_timeout_s:g} s")
        while audio_timeout_s:
            due = self._liveness.deadline(audio_timeout_s)
            await sleep_until(current_time() + audio_timeout_s if due is None else due, name)
            due = self._liveness.deadline(audio_timeout_s)
            if due is not None and due <= current_time():
                raise LegLost(f"no audio from the assistant in {audio_timeout_s:g} s")
        await trio.sleep_forever()

    def _parse(self, message: str) -> vapi.Event | None:
        try:
            return vapi.parse(message)
        except RemoteProtocolError as error:
            self._report.bad_assistant_message(error)
            return None

    def _handle(self, event: vapi.Event) -> vapi.StatusUpdate | None:
        match event:
            case vapi.SpeechUpdate(status="started", role="assistant", turn=turn):
                self.busy = True
                self._playback.intake.assistant_started(turn)
                self._report.tell(Speech("assistant", started=True))
            case vapi.SpeechUpdate(status="stopped", role="assistant"):
                self.busy = False
                self._playback.intake.assistant_stopped()
                self._report.tell(Speech("assistant", started=False))
            case vapi.TransferUpdate(assistant_id=assistant_id):
                self._report.tell(HandedOff(assistant_id))
                self._handed_off(assistant_id)
            case vapi.ToolCalls(action=action):
                self.busy = True
                if action is not None:
                    self._asked(action)
            case vapi.TransferAsked(action=action):
                self._asked(action)
            case vapi.UserInterrupted():
                self.busy = False
                self._playback.interrupter.assistant_interrupted()
            case vapi.Transcript():
                self._note_words(event)
            case vapi.StatusUpdate():
                return self._note_status(event)
            case vapi.Other(type=kind):
                if self._report.counts.protocol_error("assistant", "UNKNOWN_TYPE"):
                    self._report.tell(UnknownMessage(kind))
        return None

    def _note_status(self, event: vapi.StatusUpdate) -> vapi.StatusUpdate | None:
        match event.status:
            case "in-progress":
                self.began.set()
            case "ended":
                self._report.tell(AssistantHungUp(event.ended_reason))
                return event
        return None

    def _note_words(self, said: vapi.Transcript) -> None:
        self._report.tell(Said(said.role, said.text, said.final))
        if said.role == "user":
            self._playback.interrupter.caller_words(said.text)
            self._dialogue.user_said(said.text, final=said.final)
        else:
            self._dialogue.assistant_said(said.text, final=said.final)
