"""A whole call on the virtual clock: a strict simulated Twilio on one side, a scripted assistant on the other."""

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import trio
from numpy.typing import NDArray

from relay.call.call import Call, Services
from relay.call.calls import Calls, open_calls
from relay.call.legs import TwilioLeg
from relay.call.vad_engine import VadEngine
from relay.config import AssistantConfig, Config
from relay.errors import LegLost
from relay.media import g711
from relay.media.frames import AudioFormat, Encoding
from relay.media.silero import SileroState
from relay.metrics import Metrics
from relay.net.outbox import Outbox
from relay.secrets import Secrets
from relay.standin.phone.player import Player
from relay.wire.vapi_call import CallCreated
from tests.support.sockets import MemoryPeer, memory_socket_pair

SID = "CA" + "1" * 32
STREAM_SID = "MZ" + "2" * 32
FRAME_S = 0.02
TONE = g711.encode((8000 * np.sin(np.arange(160) * 2 * np.pi * 440 / 8000)).astype(np.int16))
SILENCE = b"\xff" * 160


class LoudnessModel:
    """In the place of the speech model: what is loud is speech."""

    def new_state(self) -> SileroState:
        return SileroState(np.zeros(0, np.float32), np.zeros(0, np.float32))

    def run(self, windows: Sequence[NDArray[np.float32]], states: Sequence[SileroState]) -> list[float]:
        return [1.0 if np.abs(window).mean() > 0.015 else 0.0 for window in windows]


async def run_inline(function: Callable[[], list[float]]) -> list[float]:
    await trio.lowlevel.checkpoint()
    return function()


class AssistantSocket:
    """The call's side of the scripted assistant: a memory socket with a keepalive that may fail."""

    def __init__(self, peer: MemoryPeer) -> None:
        self._socket = peer.socket
        self.receive = self._socket.receive
        self.send = self._socket.send
        self.close = self._socket.close
        self.dead = trio.Event()

    async def run_keepalive(self, interval_s: float, timeout_s: float) -> None:
        await self.dead.wait()
        raise LegLost("no pong")


@dataclass
class FakeDialer:
    """Dials at once, or fails as told. `deleted` are the calls that had to be deleted."""

    format: AudioFormat
    name: str = "fake"
    failure: Exception | None = None
    answer_after_s: float = 0.0
    peers: list[MemoryPeer] = field(default_factory=list)
    sockets: list[AssistantSocket] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    connected: trio.Event = field(default_factory=trio.Event)

    async def create(self, call_id: str) -> CallCreated:
        await trio.sleep(self.answer_after_s)
        if self.failure is not None:
            raise self.failure
        return CallCreated(f"vapi-{len(self.peers)}", "wss://vapi.test/secret", None)

    @asynccontextmanager
    async def connect(self, created: CallCreated) -> AsyncIterator[AssistantSocket]:
        _, peer = memory_socket_pair()
        self.peers.append(peer)
        self.sockets.append(AssistantSocket(peer))
        self.connected.set()
        try:
            yield self.sockets[-1]
        finally:
            await peer.socket.close()

    async def delete(self, vapi_call_id: str) -> None:
        await trio.lowlevel.checkpoint()
        self.deleted.append(vapi_call_id)


class Phone:
    """Twilio's side: speaks 20 ms frames in real time, plays what comes as strictly as Twilio does."""

    def __init__(self, peer: MemoryPeer) -> None:
        self.peer = peer
        self.player = Player(STREAM_SID, trio.current_time())
        self.saying: list[bytes] = []
        self._sequence = 1
        self._timestamp_ms = 0

    def send(self, message: dict[str, Any]) -> None:
        self._sequence += 1
        self.peer.send(json.dumps({**message, "sequenceNumber": str(self._sequence), "streamSid": STREAM_SID}))

    def say(self, audio: bytes) -> None:
        """Speak this from the next frame on."""
        self.saying += [audio[i : i + 160] for i in range(0, len(audio), 160)]

    async def speak(self) -> None:
        start = trio.current_time()
        frames = 0
        while True:
            await trio.sleep_until(start + frames * FRAME_S)
            frames += 1
            self.media(self.saying.pop(0) if self.saying else SILENCE)

    def media(self, payload: bytes) -> None:
        body = {
            "track": "inbound",
            "chunk": str(self._timestamp_ms // 20 + 1),
            "timestamp": str(self._timestamp_ms),
            "payload": base64.b64encode(payload).decode(),
        }
        self._timestamp_ms += 20
        self.send({"event": "media", "media": body})

    async def play(self) -> None:
        while True:
            message = None
            with trio.move_on_at(self.player.next_mark_s() or float("inf")):
                message = await self.peer.receive()
            now = trio.current_time()
            returned = self.player.advance(now) if message is None else self.player.receive(message, now)
            for name in returned:
                self.send({"event": "mark", "mark": {"name": name}})

    def heard(self) -> bytes:
        """Everything the caller heard until now, from the start of the stream."""
        self.player.advance(trio.current_time())
        return bytes(self.player.heard)


class Assistant:
    """Sends 20 ms frames in real time, silence when there is nothing else; says what it is told to."""

    def __init__(self, peer: MemoryPeer, audio_format: AudioFormat) -> None:
        self.peer = peer
        self.format = audio_format
        self.saying: list[bytes] = []

    def say(self, audio: bytes) -> None:
        size = self.format.frame_bytes
        self.saying += [audio[i : i + size] for i in range(0, len(audio), size)]

    def stop(self) -> None:
        self.saying.clear()

    def tell(self, **message: Any) -> None:
        self.peer.send(json.dumps(message))

    async def speak(self) -> None:
        start = trio.current_time()
        frames = 0
        while True:
            await trio.sleep_until(start + frames * FRAME_S)
            frames += 1
            self.peer.send(self.saying.pop(0) if self.saying else self.format.silent_frame)

    @property
    def heard(self) -> bytes:
        return b"".join(message for message in self.peer.seen if isinstance(message, bytes))

    @property
    def told(self) -> list[dict[str, Any]]:
        return [json.loads(message) for message in self.peer.seen if isinstance(message, str)]


def config(**sections: Any) -> Config:
    assistant = AssistantConfig("fake", "assistant-id")
    return Config(assistants=(assistant,), secrets=Secrets(vapi_api_keys={"fake": "key"}), **sections)


@dataclass
class Rig:
    calls: Calls
    dialer: FakeDialer
    metrics: Metrics
    nursery: trio.Nursery

    def ring(self, sid: str = SID) -> Call:
        return self.calls.answer(sid)

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
        outbox = Outbox(socket, capacity=25, is_stale=call.is_stale)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, outbox)
            with call.lend(TwilioLeg(socket, outbox, STREAM_SID)) as given_back:
                task_status.started()
                await given_back.wait()
            nursery.cancel_scope.cancel()
        await socket.close()

    async def _write(self, outbox: Outbox) -> None:
        try:
            await outbox.run(5.0)
        except LegLost:
            return

    async def assistant(self) -> Assistant:
        """The assistant once it is connected, speaking silence in real time."""
        await self.dialer.connected.wait()
        assistant = Assistant(self.dialer.peers[-1], self.dialer.format)
        self.nursery.start_soon(assistant.speak)
        return assistant

    async def until_over(self) -> None:
        with trio.fail_after(3600):
            await self.calls.wait_empty()


MULAW = AudioFormat(Encoding.MULAW, 8000)
PCM = AudioFormat(Encoding.PCM_S16LE, 16000)


async def with_rig(
    test: Callable[[Rig], Awaitable[None]], audio_format: AudioFormat = MULAW, settings: Config | None = None
) -> Rig:
    """Run `test` with a registry and a dialer that is under its control."""
    metrics = Metrics()
    engine = VadEngine(LoudnessModel(), metrics, executor=run_inline)
    services = Services(settings or config(), metrics, engine)
    dialer = FakeDialer(audio_format)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(engine.run)
        async with open_calls(services, dialer) as calls:
            rig = Rig(calls, dialer, metrics, nursery)
            await test(rig)
            nursery.cancel_scope.cancel()
    return rig
