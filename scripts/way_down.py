#!/usr/bin/env python3
"""Print what 20 ms of an assistant on their way to a caller cost, in us of CPU, with many calls.

    scripts/way_down.py [--calls 25] [--seconds 10] [--mulaw]

Real sockets and links, on a virtual clock that goes by ticks of the shared reader: a busy machine changes neither what
is done nor in which order. Each caller speaks too, as far as the queue in front of the analysis. Not counted is what
the far ends do, nor that a write wakes a peer that sleeps. To compare two versions, run both in turn (PYTHONPATH).
"""

import base64
import json
import random
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import click
import numpy as np
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from relay.call.assistant.incoming import Incoming
from relay.call.caller.analysis import NewStream
from relay.call.caller.leg import CallerAudio, CallerEvent, Heard
from relay.call.caller.twilio_leg import TwilioLeg
from relay.call.caller_line import CallerLine
from relay.call.playback.dialogue import Dialogue
from relay.call.playback.playback import Playback
from relay.call.playback.speaker import Burden
from relay.call.report.report import Report
from relay.config import AssistantConfig, Config
from relay.daemon.garbage import quieten_garbage_collection
from relay.logic.assistant.replay import ReplayLog
from relay.logic.assistant.sentences import Sentences
from relay.logic.caller.reattach import ReattachRules
from relay.media.frames import FRAME_MS, TELEPHONE, WIDEBAND, AudioFormat
from relay.metrics import Metrics
from relay.net.link.fragments import MessageBounds
from relay.net.link.link import Link
from relay.net.link.pace import OF_AN_ASSISTANT
from relay.net.link.protocol import Side, WebSocketProtocol
from relay.net.link.shared_reader import SharedReader, shared_reader
from relay.net.outbox import Outbox
from relay.secrets import Secrets

TICK_S = 0.005
TICKS_PER_FRAME = round(FRAME_MS / 1000 / TICK_S)
WARM_UP_S = 2.0
STREAM = "MZ0123456789abcdef0123456789abcdef"
BOUNDS = MessageBounds(2**20, 2**20)


@dataclass(eq=False)
class Counted(trio.abc.Instrument):
    """The steps of all tasks, and the rounds of the scheduler."""

    steps: int = 0
    rounds: int = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002
        self.steps += 1

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002
        self.rounds += 1


class FarCaller:
    """Twilio's end of a socket: says 20 ms at a time, and sends marks back."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._protocol = WebSocketProtocol(Side.CLIENT, BOUNDS, OF_AN_ASSISTANT)
        self._spoken = self._sent = 0
        self.messages = 0

    def speak(self, payload: str) -> None:
        self._spoken += 1
        at_ms = self._spoken * FRAME_MS
        media = {"track": "inbound", "chunk": str(self._spoken), "timestamp": str(at_ms), "payload": payload}
        self._send({"event": "media", "media": media})

    def read(self, now: float) -> None:
        try:
            self._protocol.feed(self._socket.recv(65_536))
        except BlockingIOError:
            return
        while isinstance(text := self._protocol.next_event(now), str):
            self.messages += 1
            message = json.loads(text)
            if message["event"] == "mark":
                self._send(message)

    def _send(self, message: dict[str, object]) -> None:
        self._sent += 1
        text = json.dumps({**message, "sequenceNumber": str(self._sent), "streamSid": STREAM})
        self._socket.send(self._protocol.message(text))


@dataclass
class Calls:
    """Calls as far as the assistant's audio passes them. `callers` and `assistants` are the far ends."""

    source: AudioFormat
    metrics: Metrics = field(default_factory=Metrics)
    callers: list[FarCaller] = field(default_factory=list)
    assistants: list[socket.socket] = field(default_factory=list)

    async def run(self) -> None:
        """Have one more call, until cancelled."""
        config = Config(
            assistants=(AssistantConfig("none", "assistant-id"),), secrets=Secrets(vapi_api_keys={"none": "key"})
        )
        report = Report(f"call-{len(self.callers)}", self.metrics)
        dialogue = Dialogue(Sentences(ReplayLog(10_000), 5.0))
        playback = Playback(self.source, TELEPHONE, config, dialogue, report, burden=Burden(many_calls=True))
        near, far = tcp_pair()
        self.callers.append(FarCaller(far))
        caller = linked(near, Side.SERVER)
        near, far = tcp_pair()
        self.assistants.append(far)
        assistant = linked(near, Side.CLIENT)
        outbox = Outbox(caller, capacity=25, fence=playback.fence)
        leg = TwilioLeg(caller, outbox, STREAM, first=0, reorder_ms=80)
        frames, analysed = trio.open_memory_channel[CallerAudio | NewStream](10)
        line = CallerLine(frames, lambda _: False, playback.speaker, ReattachRules(2, 60.0, 10.0), report)
        incoming = Incoming(self.source, playback, dialogue, report)
        incoming.take_floor()

        def take(event: CallerEvent) -> None:
            if isinstance(event, Heard):
                playback.heard(event.turn, event.position_ms)

        async def analyse() -> None:
            async for _ in analysed:
                pass

        async with trio.open_nursery() as nursery:
            for task in (caller.run, assistant.run, playback.run, analyse):
                nursery.start_soon(task)
            nursery.start_soon(outbox.run, 5.0)
            nursery.start_soon(line.run, take)
            with line.lend(leg):
                await incoming.run(assistant)


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
    for end in (near, far):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end.settimeout(0)
    return near, far


def linked(end: socket.socket, side: Side) -> Link:
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(end))
    return Link(stream, WebSocketProtocol(side, BOUNDS, OF_AN_ASSISTANT), "peer", unread_max=16)


async def measure(calls: Calls, clock: MockClock, counted: Counted, ticks: Iterable[int]) -> dict[str, float]:
    """The CPU of these ticks for each frame that was sent to a caller, and what it took."""
    source = random.Random(1)
    voice = (8000 * np.sin(np.arange(320) * 0.3)).astype("<i2").tobytes()
    sound = source.randbytes(160) if calls.source == TELEPHONE else voice
    chunk = WebSocketProtocol(Side.SERVER, BOUNDS, OF_AN_ASSISTANT).message(sound)
    payload = base64.b64encode(source.randbytes(160)).decode()
    cpu_s = 0.0
    sent, messages, steps, rounds = sent_by(calls), messages_of(calls), counted.steps, counted.rounds
    for tick in ticks:
        for number, (caller, assistant) in enumerate(zip(calls.callers, calls.assistants, strict=True)):
            if (tick + number) % TICKS_PER_FRAME == 0:
                assistant.send(chunk)
                caller.speak(payload)
        began_s = time.process_time()
        clock.jump(TICK_S)
        await wait_all_tasks_blocked()
        cpu_s += time.process_time() - began_s
        for caller in calls.callers:
            caller.read(trio.current_time())
    frames = sent_by(calls) - sent
    return {
        "cpu_us": round(cpu_s / frames * 1e6, 1),
        "messages": round((messages_of(calls) - messages) / frames, 3),
        "steps": round((counted.steps - steps) / frames, 2),
        "rounds": round((counted.rounds - rounds) / frames, 2),
    }


def sent_by(calls: Calls) -> int:
    return calls.metrics.frames["caller", "down"]


def messages_of(calls: Calls) -> int:
    return sum(caller.messages for caller in calls.callers)


async def run(calls: Calls, count: int, seconds: float, clock: MockClock, counted: Counted) -> None:
    with shared_reader(lambda _: TICK_S) as reader:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(SharedReader.run, reader)
            for _ in range(count):
                nursery.start_soon(calls.run)
            await wait_all_tasks_blocked()
            warm, end = round(WARM_UP_S / TICK_S), round((WARM_UP_S + seconds) / TICK_S)
            await measure(calls, clock, counted, range(warm))
            click.echo(json.dumps(await measure(calls, clock, counted, range(warm, end))))
            nursery.cancel_scope.cancel()


@click.command()
@click.option("--calls", "count", default=25, show_default=True)
@click.option("--seconds", default=10.0, show_default=True)
@click.option("--mulaw", is_flag=True)
def main(count: int, seconds: float, *, mulaw: bool) -> None:
    """Print figures for each frame, as JSON: CPU, messages to the caller, steps of tasks, rounds of the scheduler."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    clock, counted = MockClock(), Counted()
    quieten_garbage_collection()
    calls = Calls(TELEPHONE if mulaw else WIDEBAND)
    trio.run(run, calls, count, seconds, clock, counted, clock=clock, instruments=[counted])


if __name__ == "__main__":
    main()
