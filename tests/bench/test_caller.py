"""A caller of the load rings, connects with the token it was given, and plays Twilio's side of the media socket."""

import base64
import json
import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from relay.bench import websocket
from relay.bench.caller import LoadCaller, Refused, SetupFailed
from relay.bench.reactor import Reactor
from relay.bench.sounds import CallerTrack
from relay.bench.websocket import Deframer, frame

LIMIT_S = 10.0
FRAMES = [bytes([number]) * 160 for number in range(4)]
TRACK = CallerTrack(FRAMES, [base64.b64encode(one) for one in FRAMES], np.zeros(0, np.float32), [], [False] * 4)
TWIML = (
    '<Response><Connect><Stream url="wss://h/m"><Parameter name="token" value="secret"/></Stream></Connect></Response>'
)
ACCEPTED = websocket.upgrade_answer("x")


class Relay:
    """Answers one webhook and one handshake, in a thread of its own because dialling blocks; `far` is the socket."""

    def __init__(self, status: str = "200 OK", twiml: str = TWIML, handshake: bytes = ACCEPTED) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.reactor = Reactor()
        self.requests: queue.Queue[bytes] = queue.Queue()
        self.sockets: queue.Queue[socket.socket] = queue.Queue()
        self._answers = [f"HTTP/1.1 {status}\r\nContent-Length: {len(twiml)}\r\n\r\n{twiml}".encode(), handshake]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        self._deframer = Deframer()
        self.began = 0.0
        self.far: socket.socket
        self.heard: list[dict[str, Any]] = []

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def _serve(self) -> None:
        for answer in self._answers:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            request = b""
            while b"\r\n\r\n" not in request or (b"POST" in request and b"To=" not in request):
                request += sock.recv(1 << 16)
            self.requests.put(request)
            sock.sendall(answer)
            if b"POST" in request:
                sock.close()
            else:
                self.sockets.put(sock)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._thread.join(LIMIT_S)
        while not self.sockets.empty():
            self.sockets.get().close()

    def take_call(self, caller: LoadCaller) -> None:
        """Have it dial, and read what it says from then on."""
        self.began = time.monotonic()
        caller.dial(self.reactor)
        self.far = self.sockets.get(timeout=LIMIT_S)
        self.reactor.watch(self.far, self._read)

    def lose(self, caller: LoadCaller) -> None:
        """Close the media socket, and wait until the caller has seen it."""
        self.reactor.forget(self.far)
        self.far.close()
        assert self.reactor.run_until(time.monotonic() + LIMIT_S, lambda: caller.lost)

    def _read(self) -> None:
        self.heard += [json.loads(payload) for _, payload in self._deframer.feed(self.far.recv(1 << 16))]

    def say(self, *messages: dict[str, Any]) -> None:
        data = [frame(json.dumps(message).encode(), websocket.TEXT, masked=False) for message in messages]
        self.far.sendall(b"".join(data))

    def wait(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        """All such messages once there are so many."""
        assert self.reactor.run_until(time.monotonic() + LIMIT_S, lambda: len(self.of(event)) >= count), self.heard
        return self.of(event)

    def of(self, event: str) -> list[dict[str, Any]]:
        return [message for message in self.heard if message["event"] == event]


@contextmanager
def running(**answers: Any) -> Iterator[Relay]:
    relay = Relay(**answers)
    try:
        yield relay
    finally:
        relay.close()


@contextmanager
def called(
    *, offset: int = 0, sampled: bool = False, echo_loss_db: float | None = None
) -> Iterator[tuple[Relay, LoadCaller]]:
    """A relay that has taken a call, and its caller."""
    with running() as relay:
        caller = LoadCaller(7, relay.port, TRACK, offset, sampled=sampled, echo_loss_db=echo_loss_db)
        relay.take_call(caller)
        yield relay, caller
        relay.lose(caller)


def media(audio: bytes) -> dict[str, Any]:
    return {"event": "media", "streamSid": "MZ", "media": {"payload": base64.b64encode(audio).decode()}}


def mark(name: str) -> dict[str, Any]:
    return {"event": "mark", "streamSid": "MZ", "mark": {"name": name}}


CLEAR = {"event": "clear", "streamSid": "MZ"}


def test_it_begins_as_twilio_does_with_the_token_of_the_twiml() -> None:
    with called() as (relay, _):
        (start,) = relay.wait("start")
        webhook, handshake = relay.requests.get(), relay.requests.get()

    assert b"CallSid=CA%032x" % 7 in webhook
    assert handshake.startswith(b"GET /twilio/media HTTP/1.1\r\n")
    assert relay.heard[0] == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    assert start["start"]["customParameters"] == {"token": "secret"}
    assert start["start"]["callSid"] == f"CA{7:032x}"
    assert start["streamSid"] == start["start"]["streamSid"] == f"MZ{7:032x}"


def test_it_says_its_track_in_a_loop_from_its_offset_no_frame_before_its_20_ms() -> None:
    with called(offset=3) as (relay, caller):
        said = relay.wait("media", 6)[:6]

    assert [base64.b64decode(one["media"]["payload"])[0] for one in said] == [3, 0, 1, 2, 3, 0]
    assert [one["media"]["chunk"] for one in said] == ["1", "2", "3", "4", "5", "6"]
    assert [one["media"]["timestamp"] for one in said] == ["0", "20", "40", "60", "80", "100"]
    assert [int(one["sequenceNumber"]) for one in said] == [2, 3, 4, 5, 6, 7]
    assert all(at >= relay.began + (number + 1) * 0.02 for number, at in enumerate(caller.record.sent))
    assert caller.place == (3 + caller.frames_sent) % 4


def test_a_mark_goes_back_when_what_is_before_it_was_played() -> None:
    with called() as (relay, _):
        began = time.monotonic()
        relay.say(media(bytes(240)), media(bytes(240)), mark("end"))
        (echo,) = relay.wait("mark")
        took_s = time.monotonic() - began

    assert echo["mark"] == {"name": "end"}
    assert took_s >= 0.06


def test_a_clear_sends_all_marks_back_at_once_and_its_time_is_kept() -> None:
    with called() as (relay, caller):
        relay.say(media(bytes(8000 * 60)), mark("one"), mark("two"), CLEAR)
        echoes = relay.wait("mark", 2)

    assert [echo["mark"]["name"] for echo in echoes] == ["one", "two"]
    assert len(caller.record.clears) == 1


@pytest.mark.parametrize("sampled", [True, False])
def test_what_it_heard_is_kept_of_a_sampled_call_only(sampled: bool) -> None:
    with called(sampled=sampled) as (relay, caller):
        relay.say(media(b"audio"), mark("end"))
        relay.wait("mark")

    assert [audio for _, audio in caller.record.received] == [b"audio"] * sampled


def test_hanging_up_is_a_stop_with_the_next_number() -> None:
    with called() as (relay, caller):
        relay.wait("media", 2)
        caller.hang_up()
        (stop,) = relay.wait("stop")
    numbers = [int(message["sequenceNumber"]) for message in relay.heard[1:]]

    assert stop["stop"]["callSid"] == f"CA{7:032x}"
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_caller_is_lost_when_the_relay_is_gone_and_not_before() -> None:
    with called() as (relay, caller):
        relay.wait("media")
        before = caller.lost

    assert (before, caller.lost) == (False, True)


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({"status": "503 Busy", "twiml": "full"}, "/twilio/voice answered 503: full"),
        ({"twiml": "<Response><Hangup/></Response>"}, "/twilio/voice answered 200: <Response><Hangup/></Response>"),
        ({"handshake": b"HTTP/1.1 403 Forbidden\r\n\r\n"}, "/twilio/media answered b'HTTP/1.1 403 Forbidden"),
    ],
)
def test_a_relay_that_does_not_take_the_call_is_quoted(answers: dict[str, Any], told: str) -> None:
    with running(**answers) as relay, pytest.raises(SetupFailed) as failed:
        LoadCaller(7, relay.port, TRACK, 0, sampled=False).dial(relay.reactor)

    assert str(failed.value).startswith(told)
    assert isinstance(failed.value, Refused) == ("Hangup" in told)


@pytest.mark.parametrize("echo_loss_db", [None, 10.0])
def test_what_it_hears_comes_back_only_on_a_line_with_an_echo(echo_loss_db: float | None) -> None:
    with called(echo_loss_db=echo_loss_db) as (relay, _):
        relay.wait("media")
        relay.say(media(b"\x10\x90" * 800))
        sent = {message["media"]["payload"].encode() for message in relay.wait("media", 25)}

    assert (sent <= set(TRACK.payloads)) == (echo_loss_db is None)
