"""The media socket on a virtual clock: frames on time, marks when they are due, and the right name for each ending."""

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
import trio
from trio.testing import MockClock
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream
from wsproto.frame_protocol import CloseReason

from relay.media.frames import FRAME_MS
from relay.standin.compare import audible_frames
from relay.standin.echo import EchoPath
from relay.standin.phone.lips import Lips
from relay.standin.phone.media import MediaStream, StreamEnd, StreamRefused, serve_stream
from relay.standin.phone.player import Player
from relay.standin.phone.stream import StreamMessages
from relay.standin.sound import level_dbfs, mulaw_to_samples
from tests.support.small_relay import BEEP, MediaLeg
from tests.support.streams import socket_pair

HEADERS = {"Host": "relay.example.com", "X-Twilio-Signature": "signed"}
Handler = Callable[[MediaLeg], Awaitable[None]]


@dataclass
class Call:
    """The stream, when its socket was open, how it ended, and both ends of the connection."""

    media: MediaStream
    near: trio.SocketStream
    far: trio.SocketStream
    began_s: float
    end: StreamEnd | None = None
    refused: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    started: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)

    async def serve(self) -> None:
        try:
            self.end = await serve_stream(
                self.media,
                "ws://127.0.0.1:9/m",
                HEADERS,
                {"token": "t"},
                started=self.started.set,
                heard=lambda: None,
            )
        except StreamRefused as refused:
            self.refused = str(refused)
        self.ended.set()


def new_call() -> Call:
    now_s, (near, far) = trio.current_time(), socket_pair()
    media = MediaStream(Player("MZ1", now_s), StreamMessages("AC1", "CA1", "MZ1", "exact"), Lips(now_s))
    return Call(media, near, far, now_s)


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[[Call], None]:
    """Has the next connection lead to the call's own far end."""

    def use(call: Call) -> None:
        async def open_tcp_stream(*_: object) -> trio.SocketStream:
            return call.near

        monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)

    return use


@asynccontextmanager
async def streaming(connect: Callable[[Call], None], handler: Handler) -> AsyncIterator[Call]:
    """A call whose socket is open; on leaving it must have ended."""
    call = new_call()
    connect(call)

    async def answer() -> None:
        async with trio.open_nursery() as nursery:
            request = await wrap_server_stream(nursery, call.far)
            call.headers = {name.decode().lower(): value.decode() for name, value in request.headers}
            leg = MediaLeg(await request.accept(), call.headers, "MZ1")
            with suppress(ConnectionClosed):
                await handler(leg)
            nursery.cancel_scope.cancel()

    async with call.far, trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        nursery.start_soon(call.serve)
        await call.started.wait()
        yield call
        with trio.fail_after(10):
            await call.ended.wait()


class Listener:
    """A handler that keeps every message with its time since the call began, and says nothing."""

    def __init__(self) -> None:
        self.heard: list[tuple[float, dict[str, Any]]] = []
        self.closed: ConnectionClosed | None = None

    async def __call__(self, leg: MediaLeg) -> None:
        began_s = trio.current_time()
        try:
            while True:
                message = await leg.receive()
                self.heard.append((round(trio.current_time() - began_s, 6), message))
        except ConnectionClosed as closed:
            self.closed = closed

    def of(self, event: str) -> list[tuple[float, Any]]:
        return [(at_s, message[event]) for at_s, message in self.heard if message["event"] == event]

    @property
    def events(self) -> list[str]:
        return [message["event"] for _, message in self.heard]


async def listen_on(leg: MediaLeg) -> None:
    while True:
        await leg.receive()


async def test_the_stream_is_twilios_in_order_and_numbered(
    connect: Callable[[Call], None], autojump_clock: MockClock
) -> None:
    listener = Listener()
    async with streaming(connect, listener) as call:
        saying = call.media.lips.say(BEEP)
        call.media.digits.append("5")
        await trio.sleep(0.5)
        call.media.ask("hang-up")

    numbers = [int(message["sequenceNumber"]) for _, message in listener.heard[1:]]
    said = b"".join(base64.b64decode(media["payload"]) for _, media in listener.of("media"))
    assert listener.events[:3] == ["connected", "start", "dtmf"]
    assert listener.events[-1] == "stop"
    assert numbers == list(range(1, len(listener.heard)))
    assert listener.of("start")[0][1]["customParameters"] == {"token": "t"}
    assert said.startswith(BEEP)
    assert saying.ended_s is not None
    assert call.end == "hung-up"


async def test_on_a_line_with_an_echo_the_relay_hears_what_it_sent_so_much_later(
    connect: Callable[[Call], None], autojump_clock: MockClock
) -> None:
    listener = Listener()

    async def beep(leg: MediaLeg) -> None:
        await leg.started()
        await trio.sleep(0.2)
        await leg.media(BEEP)
        await listener(leg)

    async with streaming(connect, beep) as call:
        call.media.lips.echo = EchoPath(8000, delay_ms=100, loss_db=10)
        await trio.sleep(1)
        call.media.ask("hang-up")

    said, heard = (mulaw_to_samples(data) for data in (call.media.lips.said, call.media.player.heard))
    assert audible_frames(said)[0] - audible_frames(heard)[0] == pytest.approx(8 * (100 + FRAME_MS), abs=8 * FRAME_MS)
    assert level_dbfs(said) < level_dbfs(heard) - 6


async def test_a_stream_that_is_left_says_stop_as_at_a_hang_up_and_the_call_is_not_over(
    connect: Callable[[Call], None], autojump_clock: MockClock
) -> None:
    listener = Listener()
    async with streaming(connect, listener) as call:
        await trio.sleep(0.5)
        call.media.ask("stop")

    assert listener.events[-1] == "stop"
    assert call.end == "stopped"


async def test_the_handshake_carries_the_headers_that_were_given(
    connect: Callable[[Call], None], autojump_clock: MockClock
) -> None:
    async with streaming(connect, Listener()) as call:
        call.media.ask("hang-up")

    assert call.headers["x-twilio-signature"] == "signed"


async def test_a_frame_leaves_every_20_ms_without_drift(
    connect: Callable[[Call], None], autojump_clock: MockClock
) -> None:
    listener = Listener()
    async with streaming(connect, listener) as call:
        await trio.sleep(1.99)
        call.media.ask("hang-up")

    frames = listener.of("media")
    assert [at_s for at_s, _ in frames] == [pytest.approx(number * 0.02) for number in range(len(frames))]
    assert [int(media["timestamp"]) for _, media in frames] == [20 * number for number in range(len(frames))]
    assert len(frames) == 100


async def test_while_the_connection_is_congested_the_callers_audio_is_discarded(
    connect: Callable[[Call], None], autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, sent = WebSocketConnection.send_message, 0

    async def send_message(self: WebSocketConnection, message: str | bytes) -> None:
        nonlocal sent
        sent += 1
        if sent in (10, 20):
            await trio.sleep(2.0 if sent == 10 else 0.5)
        await send(self, message)

    monkeypatch.setattr(WebSocketConnection, "send_message", send_message)
    listener = Listener()
    async with streaming(connect, listener) as call:
        await trio.sleep(3)
        call.media.ask("hang-up")

    steps = [
        later - earlier for earlier, later in pairwise(int(media["timestamp"]) for _, media in listener.of("media"))
    ]
    assert sorted(set(steps)) == [20, 2020]
    assert steps.count(2020) == 1
    assert call.media.discarded_frames == 100
    assert [line.detail[:5] for line in call.media.player.warnings] == ["31930"]


async def test_frames_can_leave_in_the_wrong_order(connect: Callable[[Call], None], autojump_clock: MockClock) -> None:
    listener = Listener()
    async with streaming(connect, listener) as call:
        call.media.swap_every = 3
        await trio.sleep(0.15)
        call.media.ask("hang-up")

    chunks = [int(media["chunk"]) for _, media in listener.of("media")]
    assert chunks[:8] == [1, 2, 4, 3, 5, 6, 8, 7]


async def test_a_caller_that_stood_still_sends_at_once_what_is_late(
    connect: Callable[[Call], None], autojump_clock: MockClock
) -> None:
    listener = Listener()
    async with streaming(connect, listener) as call:
        await trio.sleep(0.05)
        autojump_clock.jump(0.1)
        await trio.sleep(0.05)
        call.media.ask("hang-up")

    times_s = [at_s for at_s, _ in listener.of("media")]
    expected = [0.0, 0.02, 0.04, *[0.15] * 5, 0.16, 0.18, 0.2]
    assert times_s == [pytest.approx(at_s) for at_s in expected]


async def test_a_mark_goes_back_at_the_moment_at_which_it_is_reached(
    connect: Callable[[Call], None], autojump_clock: MockClock
) -> None:
    returned_s: list[float] = []

    async def speak(leg: MediaLeg) -> None:
        began_s = trio.current_time()
        await leg.media(b"a" * 1000)
        await leg.send("mark", mark={"name": "end"})
        assert (await leg.wait("mark"))["mark"]["name"] == "end"
        returned_s.append(trio.current_time() - began_s)
        await listen_on(leg)

    async with streaming(connect, speak) as call:
        await trio.sleep(0.5)
        call.media.ask("hang-up")

    assert returned_s == [pytest.approx(0.125, abs=0.0002)]


async def test_a_clear_sends_the_waiting_marks_back_at_once(
    connect: Callable[[Call], None], autojump_clock: MockClock
) -> None:
    returned_s: list[float] = []

    async def interrupt(leg: MediaLeg) -> None:
        await leg.media(b"a" * 80_000)
        await leg.send("mark", mark={"name": "end"})
        await trio.sleep(0.111)
        cleared_s = trio.current_time()
        await leg.send("clear")
        await leg.wait("mark")
        returned_s.append(trio.current_time() - cleared_s)
        await listen_on(leg)

    async with streaming(connect, interrupt) as call:
        await trio.sleep(0.5)
        call.media.ask("hang-up")

    assert returned_s == [0.0]


async def test_a_dropped_stream_ends_without_a_goodbye(
    connect: Callable[[Call], None], autojump_clock: MockClock
) -> None:
    listener = Listener()
    async with streaming(connect, listener) as call:
        await trio.sleep(0.05)
        call.media.ask("drop")

    assert call.end == "lost"
    assert "stop" not in listener.events
    assert listener.closed is not None
    assert listener.closed.reason is None or listener.closed.reason.code == 1006


@pytest.mark.parametrize("code", [1000, 1011, 4001, CloseReason.NO_STATUS_RCVD])
async def test_when_the_relay_closes_its_code_is_known_and_all_it_said_was_heard(
    connect: Callable[[Call], None], code: int, autojump_clock: MockClock
) -> None:
    async def leave(leg: MediaLeg) -> None:
        for number in range(50):
            await leg.send("mark", mark={"name": f"{number}"})
        await leg.socket.aclose(code)

    async with streaming(connect, leave) as call:
        await call.ended.wait()

    assert (call.end, call.media.close_code) == ("closed", code)
    assert sum(line.kind == "mark" for line in call.media.player.log) == 50


async def test_a_relay_that_vanishes_loses_the_stream(
    connect: Callable[[Call], None], autojump_clock: MockClock
) -> None:
    async def vanish(leg: MediaLeg) -> None:
        await trio.sleep(0.1)
        await trio.aclose_forcefully(call.far)

    async with streaming(connect, vanish) as call:
        await call.ended.wait()

    assert (call.end, call.media.close_code) == ("lost", 1006)


async def test_a_refused_handshake_is_31920_with_its_status(
    connect: Callable[[Call], None], autojump_clock: MockClock
) -> None:
    call = new_call()
    connect(call)
    async with call.far, trio.open_nursery() as nursery:

        async def refuse() -> None:
            async with trio.open_nursery() as inner:
                await (await wrap_server_stream(inner, call.far)).reject(403)
                inner.cancel_scope.cancel()

        nursery.start_soon(refuse)
        await call.serve()

    assert call.refused == "31920: handshake refused 403"
    assert not call.started.is_set()


@pytest.mark.parametrize("after_s", [0, 1])
async def test_a_peer_that_is_gone_in_the_handshake_is_not_waited_for(
    connect: Callable[[Call], None], after_s: float, autojump_clock: MockClock
) -> None:
    call = new_call()
    connect(call)
    async with trio.open_nursery() as nursery:

        async def leave() -> None:
            await trio.sleep(after_s)
            await call.far.aclose()

        if after_s:
            nursery.start_soon(leave)
        else:
            await leave()
        await call.serve()

    assert call.refused == "31920: connection lost in the handshake"
    assert trio.current_time() - call.began_s == after_s


async def test_a_peer_that_says_nothing_is_waited_for_5_s(
    connect: Callable[[Call], None], autojump_clock: MockClock
) -> None:
    call = new_call()
    connect(call)
    await call.serve()
    await call.far.aclose()

    assert call.refused == "31920: no handshake in time"
    assert trio.current_time() - call.began_s == 5


async def test_a_connection_that_is_not_answered_is_31901_after_5_s(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async def open_tcp_stream(*_: object) -> trio.SocketStream:
        await trio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)
    call = new_call()
    await call.serve()
    await call.near.aclose()
    await call.far.aclose()

    assert call.refused == "31901: no answer in time"
    assert trio.current_time() - call.began_s == 5


async def test_a_connection_that_is_refused_is_31902(monkeypatch: pytest.MonkeyPatch) -> None:
    async def open_tcp_stream(*_: object) -> trio.SocketStream:
        raise ConnectionRefusedError("nobody listens")

    monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)
    call = new_call()
    await call.serve()
    await call.near.aclose()
    await call.far.aclose()

    assert call.refused == "31902: connection refused: nobody listens"
