"""A whole call on the virtual clock: a strict simulated Twilio on one side, a scripted assistant on the other."""

import base64
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import trio
from numpy.typing import NDArray
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from relay.call.assistant.dialer import NewCall
from relay.call.call import Call
from relay.call.caller.classifier import Classifier
from relay.call.caller.twilio_leg import TwilioLeg
from relay.call.caller.vad_engine import Executor, SpeechModel, VadEngine
from relay.call.calls import Calls, open_calls
from relay.call.services import Services
from relay.call.takeover import Takeover
from relay.config import AssistantConfig, Config
from relay.errors import LegLost
from relay.media import g711
from relay.media.frames import Audio, AudioFormat, Encoding
from relay.media.silero import SileroState
from relay.metrics import Metrics
from relay.net.outbox import Outbox
from relay.record.recorder import Recorder
from relay.secrets import Secrets
from relay.standin.phone.player import Player
from relay.state import StateStore
from relay.wakeup import sleep_until
from relay.wire.vapi_call import CallCreated
from tests.support.sockets import MemoryPeer, memory_socket_pair

SID = "CA" + "1" * 32
STREAM_SID = "MZ" + "2" * 32
SOCKET_URL, CONTROL_URL = "wss://vapi.test/socket-secret", "https://vapi.test/control-secret"
FRAME_S = 0.02
TONE = g711.encode((8000 * np.sin(np.arange(160) * 2 * np.pi * 440 / 8000)).astype(np.int16))
MURMUR = g711.encode((500 * np.sin(np.arange(160) * 2 * np.pi * 400 / 8000)).astype(np.int16))
"""What `LoudnessModel` takes for likely speech, and never for sure."""
SILENCE = b"\xff" * 160
GONE = (trio.ClosedResourceError, trio.BrokenResourceError)


class LoudnessModel:
    """In the place of the speech model: what is loud is speech, what is quiet may be."""

    def new_state(self) -> SileroState:
        return SileroState(np.zeros(0, np.float32), np.zeros(0, np.float32))

    def run(self, windows: Sequence[NDArray[np.int16]], states: Sequence[SileroState], gain_db: float) -> list[float]:
        levels = [float(np.abs(window.astype(np.float32)).mean()) / 32768 for window in windows]
        return [1.0 if level > 0.015 else 0.6 if level > 0.003 else 0.0 for level in levels]


async def run_inline(function: Callable[[], list[float]]) -> list[float]:
    await trio.lowlevel.checkpoint()
    return function()


class AssistantSocket:
    """The call's side of the scripted assistant: a memory socket with a keepalive that may fail.

    Once `frozen`, what is sent goes into the kernel's buffer, and no goodbye is answered.
    """

    def __init__(self, peer: MemoryPeer) -> None:
        self._socket = peer.socket
        self.receive = self._socket.receive
        self.receive_each = self._socket.receive_each
        self.send = self._socket.send
        self.send_now = self._socket.send_now
        self.close = self._socket.close
        self.dead = trio.Event()
        self.frozen = False

    async def part(self) -> None:
        if self.frozen:
            await trio.sleep_forever()
        await self.close()

    async def run_keepalive(
        self, interval_s: float, timeout_s: float, answered: Callable[[float], None] | None = None
    ) -> None:
        if answered is not None:
            answered(0.04)
        await self.dead.wait()
        raise LegLost("no pong")


@dataclass(eq=False)
class FakeDialer:
    """Dials at once, or fails as told. `hung_up` are the calls that had to be ended by REST.

    `granted`: the format that calls get, whatever is asked for. `asked_for`: the assistants of the provider's that had
    the conversation by a hand-off, of which it does not know those in `unknown`. `told`: what each call is told of its
    caller.
    """

    format: AudioFormat
    name: str = "fake"
    max_call_s: float | None = None
    granted: AudioFormat | None = None
    failure: Exception | None = None
    handshake_failure: Exception | None = None
    answer_after_s: float = 0.0
    connect_after_s: float = 0.0
    create_timeout_s: float = 10.0
    hang_up_after_s: float = 0.0
    peers: list[MemoryPeer] = field(default_factory=list)
    sockets: list[AssistantSocket] = field(default_factory=list)
    hung_up: list[str] = field(default_factory=list)
    asked: list[tuple[bool, str | None]] = field(default_factory=list)
    asked_for: list[str | None] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    told: list[dict[str, str]] = field(default_factory=list)
    connected: trio.Event = field(default_factory=trio.Event)
    _another: trio.Event = field(default_factory=trio.Event)

    async def peer(self, number: int, *, within_s: float = 60.0) -> MemoryPeer:
        """The far side of the connection of this number, from 0, once it is there."""
        with trio.fail_after(within_s):
            while len(self.peers) <= number:
                await self._another.wait()
        return self.peers[number]

    async def create(
        self, wanted: NewCall, *, fresh: bool = False, answering: Callable[[], None] | None = None
    ) -> CallCreated:
        self.asked.append((wanted.greet, wanted.replaces))
        self.asked_for.append(wanted.handed_to)
        self.told.append(dict(wanted.variables))
        await trio.sleep(self.answer_after_s)
        if self.failure is not None:
            raise self.failure
        granted, refused = self.granted or self.format, wanted.handed_to in self.unknown
        return CallCreated(f"vapi-{len(self.peers)}", SOCKET_URL, CONTROL_URL, granted, hand_off_refused=refused)

    @asynccontextmanager
    async def connect(self, created: CallCreated) -> AsyncIterator[AssistantSocket]:
        await trio.sleep(self.connect_after_s)
        if self.handshake_failure is not None:
            raise self.handshake_failure
        _, peer = memory_socket_pair()
        self.peers.append(peer)
        self.sockets.append(AssistantSocket(peer))
        self.connected.set()
        self._another.set()
        self._another = trio.Event()
        try:
            yield self.sockets[-1]
        finally:
            await peer.socket.close()

    def note_unavailable(self) -> None:
        """See Dialer."""

    async def hang_up(self, call_id: str, control_url: str | None) -> None:
        await trio.sleep(self.hang_up_after_s)
        self.hung_up.append(call_id)


class Phone:
    """Twilio's side: speaks 20 ms frames in real time, plays what comes as strictly as Twilio does.

    `mark_delay_s` says how long each mark takes on its way back; they keep their order.
    """

    def __init__(self, peer: MemoryPeer) -> None:
        self.peer = peer
        self.player = Player(STREAM_SID, trio.current_time())
        self.saying: list[bytes] = []
        self.mark_delay_s: Callable[[], float] = lambda: 0.0
        self.hung_up = trio.Event()
        self._sequence = 1
        self._timestamp_ms = 0
        self._marks: list[tuple[float, str]] = []

    def send(self, message: dict[str, Any]) -> None:
        self._sequence += 1
        with suppress(*GONE):
            self.peer.send(json.dumps({**message, "sequenceNumber": str(self._sequence), "streamSid": STREAM_SID}))

    def stop(self) -> None:
        """Hang up, as Twilio tells it."""
        self.send({"event": "stop", "stop": {"accountSid": "AC1", "callSid": SID}})

    def press(self, digit: str) -> None:
        self.send({"event": "dtmf", "dtmf": {"digit": digit, "track": "inbound_track"}})

    def say(self, audio: bytes) -> None:
        """Speak this from the next frame on."""
        self.saying += [audio[i : i + 160] for i in range(0, len(audio), 160)]

    async def speak(self) -> None:
        start = trio.current_time()
        frames = 0
        while True:
            await sleep_until(start + frames * FRAME_S)
            frames += 1
            self.media(self.saying.pop(0) if self.saying else SILENCE)

    def media(self, payload: bytes, *, timestamp_ms: int | None = None) -> None:
        """One frame; its media time follows the one before unless it is given."""
        if timestamp_ms is not None:
            self._timestamp_ms = timestamp_ms
        body = {
            "track": "inbound",
            "chunk": str(self._timestamp_ms // 20 + 1),
            "timestamp": str(self._timestamp_ms),
            "payload": base64.b64encode(payload).decode(),
        }
        self._timestamp_ms += 20
        self.send({"event": "media", "media": body})

    def skip(self, messages: int) -> None:
        """So many messages of audio get lost on their way."""
        self._sequence += messages
        self._timestamp_ms += messages * 20

    async def play(self) -> None:
        with suppress(trio.EndOfChannel):
            while True:
                await self._play_on()
        self.hung_up.set()

    async def _play_on(self) -> None:
        message = None
        times = [self.player.next_mark_s(), self._marks[0][0] if self._marks else None]
        with trio.move_on_at(min((at for at in times if at is not None), default=float("inf"))):
            message = await self.peer.receive()
        now = trio.current_time()
        returned = self.player.advance(now) if message is None else self.player.receive(message, now)
        for name in returned:
            last = self._marks[-1][0] if self._marks else now
            self._marks.append((max(last, now + self.mark_delay_s()), name))
        while self._marks and self._marks[0][0] <= now:
            self.send({"event": "mark", "mark": {"name": self._marks.pop(0)[1]}})

    def heard(self) -> bytes:
        """Everything the caller heard until now, from the start of the stream."""
        self.player.advance(trio.current_time())
        return bytes(self.player.heard)

    def heard_after_clear(self, number: int = 0) -> bytes:
        """What the caller heard since this `clear`, to the sample."""
        at_s = self.player.clears[number].at_s
        return self.heard()[int((at_s - self.player.started_s) * 8000 + 1e-6) :]


class Assistant:
    """Sends 20 ms frames in real time, silence when there is nothing else; says what it is told to."""

    def __init__(self, peer: MemoryPeer, audio_format: AudioFormat) -> None:
        self.peer = peer
        self.format = audio_format
        self.saying: list[bytes] = []
        self.silent_when_quiet = False

    def say(self, audio: bytes) -> None:
        size = self.format.frame_bytes
        self.saying += [audio[i : i + size] for i in range(0, len(audio), size)]

    def stop(self) -> None:
        self.saying.clear()

    def send(self, message: str | bytes) -> None:
        with suppress(*GONE):
            self.peer.send(message)

    def tell(self, **message: Any) -> None:
        self.send(json.dumps(message))

    def interrupted(self) -> None:
        self.tell(type="user-interrupted")

    def speech(self, status: str, role: str = "assistant", **more: Any) -> None:
        self.tell(type="speech-update", status=status, role=role, **more)

    def transcript(self, text: str, *, role: str = "user", kind: str = "partial") -> None:
        self.tell(type="transcript", role=role, transcriptType=kind, transcript=text)

    async def speak(self) -> None:
        start = trio.current_time()
        frames = 0
        while True:
            await sleep_until(start + frames * FRAME_S)
            frames += 1
            if self.saying:
                self.send(self.saying.pop(0))
            elif not self.silent_when_quiet:
                self.send(self.format.silent_frame)

    @property
    def heard(self) -> bytes:
        return b"".join(message for message in self.peer.seen if isinstance(message, bytes))

    @property
    def told(self) -> list[dict[str, Any]]:
        return [json.loads(message) for message in self.peer.seen if isinstance(message, str)]


def config(**sections: Any) -> Config:
    assistant = AssistantConfig("fake", "assistant-id")
    return Config(assistants=(assistant,), secrets=Secrets(vapi_api_keys={"fake": "key"}), **sections)


MULAW = AudioFormat(Encoding.MULAW, 8000)
PCM = AudioFormat(Encoding.PCM_S16LE, 16000)


def make_late(calls: Calls) -> None:
    """The event loop has been late for some seconds."""
    for _ in range(20):
        calls.note_loop_lag(0.1)


@dataclass
class Rig:
    """The registry, a dialer under the test's control, and, after `begin`, one call with both its sides."""

    calls: Calls
    takeover: Takeover
    dialer: FakeDialer
    metrics: Metrics
    nursery: trio.Nursery
    logged: list[Any]
    call: Call = field(init=False)
    phone: Phone = field(init=False)
    assistant: Assistant = field(init=False)

    def ring(self, sid: str = SID) -> Call:
        return self.calls.answer(sid)

    async def begin(self, *, speaking: bool = True, phase_s: float = 0.0) -> None:
        """A call whose assistant is connected and whose caller is attached; both are silent, in real time.

        The caller's frames come `phase_s` later than the assistant's.
        """
        self.call = self.ring()
        self.assistant = await self.meet_assistant()
        await trio.sleep(phase_s)
        self.phone = await self.attach(self.call, speaking=speaking)

    async def attach(self, call: Call, *, speaking: bool = True) -> Phone:
        """Connect a phone to the call; it plays, and speaks silence in real time unless told otherwise."""
        socket, peer = memory_socket_pair()
        phone = Phone(peer)
        await self.nursery.start(self._lend, call, socket)
        self.nursery.start_soon(phone.play)
        if speaking:
            self.nursery.start_soon(phone.speak)
        return phone

    async def _lend(self, call: Call, socket: Any, task_status: trio.TaskStatus[None]) -> None:
        outbox = Outbox(socket, capacity=25, fence=call.fence)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, outbox, socket)
            with call.lend(TwilioLeg(socket, outbox, STREAM_SID, first=2, reorder_ms=80)) as given_back:
                task_status.started()
                await given_back.wait()
            nursery.cancel_scope.cancel()
        await socket.close()

    async def _write(self, outbox: Outbox, socket: Any) -> None:
        try:
            await outbox.run(5.0)
        except LegLost:
            await socket.close()

    async def meet_assistant(self) -> Assistant:
        """The assistant once it is connected, speaking silence in real time."""
        await self.dialer.connected.wait()
        assistant = Assistant(self.dialer.peers[-1], self.dialer.granted or self.dialer.format)
        self.nursery.start_soon(assistant.speak)
        return assistant

    async def ended(self, reason: str, *, within_s: float = 2.0) -> Any:
        """The last log line of the only call, which is over within `within_s`, for that reason."""
        with trio.fail_after(within_s):
            await self.calls.wait_empty()
        await trio.sleep(FRAME_S)
        line = self.event("call.ended")
        assert line["reason"] == reason
        assert self.metric("relay_calls_total", end_reason=reason) == 1
        assert self.metric("relay_calls_active") == 0
        return line

    async def until_over(self, limit_s: float = 3600) -> None:
        with trio.fail_after(limit_s):
            await self.calls.wait_empty()

    def events(self, name: str) -> list[Any]:
        """The log lines of this name."""
        return [line for line in self.logged if line["event"] == name]

    def event(self, name: str) -> Any:
        """The only log line of this name."""
        (line,) = self.events(name)
        return line

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


@asynccontextmanager
async def open_rig(
    audio_format: AudioFormat = MULAW,
    *,
    model: SpeechModel | None = None,
    executor: Executor = run_inline,
    others: Sequence[FakeDialer] = (),
    apology: Audio | None = None,
    store: StateStore | None = None,
    classifier: Callable[[Metrics], Classifier] | None = None,
    recorder: Recorder | None = None,
    **sections: Any,
) -> AsyncIterator[Rig]:
    """A registry with a dialer under control. On leaving, calls are cancelled and everything is gone.

    Whatever happened to the calls, no address of the assistant's may be in the log, before any redaction.
    """
    metrics = Metrics()
    engine = VadEngine(model or LoudnessModel(), metrics, executor=executor)
    with capture_logs(processors=[merge_contextvars]) as logged:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.run)
            own = classifier(metrics) if classifier is not None else None
            services = Services(config(**sections), metrics, engine, store, apology, own, recorder)
            async with open_calls(services, dialer := FakeDialer(audio_format), *others) as calls:
                yield Rig(calls, Takeover(calls, services), dialer, metrics, nursery, logged)
            nursery.cancel_scope.cancel()
    assert [line for line in logged if SOCKET_URL in str(line) or CONTROL_URL in str(line)] == []
