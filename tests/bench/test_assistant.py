"""The load's assistants talk when the caller's track says so, and their listener answers as Vapi's does."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from relay.bench import websocket
from relay.bench.assistant import AssistantListener, LoadAssistant
from relay.bench.reactor import Reactor
from relay.bench.sounds import CallerTrack, Reference
from relay.bench.websocket import Deframer, frame
from tests.support.streams import tcp_sockets

REFERENCE = Reference([b"zero", b"one", b"two"], np.zeros(0, np.float32), b"quiet")
TRACK = CallerTrack([b""] * 4, [b""] * 4, np.zeros(0, np.float32), [], [True, True, False, True])
LIMIT_S = 10.0


@dataclass
class Far:
    """The relay's end of a socket, read while the reactor works."""

    reactor: Reactor
    sock: socket.socket
    messages: list[tuple[int, bytes]] = field(default_factory=list)
    deframer: Deframer = field(default_factory=Deframer)

    def read(self) -> None:
        self.messages += self.deframer.feed(self.sock.recv(1 << 16))

    def wait(self, true: Callable[[list[tuple[int, bytes]]], bool]) -> list[tuple[int, bytes]]:
        """All messages so far, once this is true of them."""
        assert self.reactor.run_until(time.monotonic() + LIMIT_S, lambda: true(self.messages))
        return self.messages


@pytest.fixture
def far() -> Iterator[tuple[Far, socket.socket]]:
    reactor = Reactor()
    with tcp_sockets() as (here, there):
        end = Far(reactor, there)
        reactor.watch(there, end.read)
        yield end, here


@pytest.fixture
def in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame each millisecond."""
    monkeypatch.setattr("relay.bench.assistant.FRAME_S", 0.001)


def texts(messages: list[tuple[int, bytes]]) -> list[dict[str, object]]:
    return [json.loads(payload) for opcode, payload in messages if opcode == websocket.TEXT]


def audio(messages: list[tuple[int, bytes]]) -> list[bytes]:
    return [payload for opcode, payload in messages if opcode == websocket.BINARY]


def turns(messages: list[tuple[int, bytes]]) -> list[tuple[object, object]]:
    return [(text["status"], text["turn"]) for text in texts(messages) if text["type"] == "speech-update"]


def wait_turns(end: Far, count: int) -> None:
    end.wait(lambda messages: len(turns(messages)) == count)


@pytest.mark.usefixtures("in_haste")
def test_it_talks_from_its_own_place_in_the_loop_and_sends_silence_while_the_caller_has_the_word(
    far: tuple[Far, socket.socket],
) -> None:
    end, here = far
    caller = SimpleNamespace(place=0)
    assistant = LoadAssistant(caller, TRACK, REFERENCE, offset=2, sampled=False)
    connected = [assistant.connected]
    assistant.attach(here, end.reactor, b"")
    end.wait(lambda messages: len(audio(messages)) > 3)
    caller.place = 2
    heard = end.wait(lambda messages: b"quiet" in audio(messages))

    assert [*connected, assistant.connected] == [False, True]
    assert texts(heard) == [
        {"type": "status-update", "status": "in-progress"},
        {"type": "speech-update", "status": "started", "role": "assistant", "turn": 0},
        {"type": "user-interrupted"},
        {"type": "speech-update", "status": "stopped", "role": "assistant", "turn": 0},
    ]
    assert audio(heard)[:4] == [b"two", b"zero", b"one", b"two"]


@pytest.mark.usefixtures("in_haste")
def test_each_time_it_begins_to_talk_is_a_turn(far: tuple[Far, socket.socket]) -> None:
    end, here = far
    caller = SimpleNamespace(place=0)
    LoadAssistant(caller, TRACK, REFERENCE, 0, sampled=False).attach(here, end.reactor, b"")
    for count, caller.place in enumerate((0, 2, 3, 2), start=1):
        wait_turns(end, count)

    assert turns(end.messages) == [("started", 0), ("stopped", 0), ("started", 1), ("stopped", 1)]


@pytest.mark.usefixtures("in_haste")
def test_of_a_sampled_call_every_frame_is_known_by_its_turn_and_place_and_what_came_with_its_time(
    far: tuple[Far, socket.socket],
) -> None:
    end, here = far
    caller = SimpleNamespace(place=0)
    assistant = LoadAssistant(caller, TRACK, REFERENCE, offset=2, sampled=True)
    before = time.monotonic()
    assistant.attach(here, end.reactor, frame(b"early", websocket.BINARY, masked=True))
    end.sock.sendall(frame(b"audio", websocket.BINARY, masked=True))
    end.wait(lambda messages: len(audio(messages)) > 3)
    caller.place = 2
    end.wait(lambda messages: b"quiet" in audio(messages) and len(assistant.record.received) == 2)

    sent = assistant.record.sent
    assert [(one.reference_index, one.turn, one.place) for one in sent[:3]] == [(2, 0, 0), (0, 0, 1), (1, 0, 2)]
    assert sent[-1].reference_index is None
    assert [payload for _, payload in assistant.record.received] == [b"early", b"audio"]
    times = [one.at for one in sent]
    assert before <= times[0]
    assert times == sorted(times)


@pytest.mark.usefixtures("in_haste")
def test_of_the_other_calls_nothing_is_kept(far: tuple[Far, socket.socket]) -> None:
    end, here = far
    assistant = LoadAssistant(SimpleNamespace(place=0), TRACK, REFERENCE, 0, sampled=False)
    assistant.attach(here, end.reactor, frame(b"early", websocket.BINARY, masked=True))
    end.wait(lambda messages: len(audio(messages)) > 3)

    assert (assistant.record.sent, assistant.record.received) == ([], [])


@pytest.mark.usefixtures("in_haste")
def test_when_told_to_end_the_call_it_closes_and_a_relay_that_is_gone_counts_as_lost(
    far: tuple[Far, socket.socket],
) -> None:
    end, here = far
    assistant = LoadAssistant(SimpleNamespace(place=2), TRACK, REFERENCE, 0, sampled=False)
    assistant.attach(here, end.reactor, b"")
    end.sock.sendall(frame(b'{"type":"end-call"}', websocket.TEXT, masked=True))
    end.wait(lambda messages: (websocket.CLOSE, b"\x03\xe8") in messages)
    assert not assistant.lost
    end.reactor.forget(end.sock)
    end.sock.close()

    assert end.reactor.run_until(time.monotonic() + LIMIT_S, lambda: assistant.lost)


@dataclass
class Asked:
    """A client of the listener, and the WebSockets that it handed on."""

    reactor: Reactor
    port: int
    sockets: list[tuple[socket.socket, bytes]]

    def answer(self, client: socket.socket, *parts: bytes) -> tuple[str, bytes]:
        """Status line and body of the answer to a request that comes in these parts."""
        before = time.monotonic() + LIMIT_S
        client.settimeout(0)
        got = b""

        def answered() -> bool:
            nonlocal got
            with suppress(BlockingIOError):
                got += client.recv(1 << 16)
            return b"\r\n\r\n" in got

        for part in parts:
            client.sendall(part)
            self.reactor.run_until(time.monotonic() + 0.005)
        assert self.reactor.run_until(before, answered)
        head, _, body = got.partition(b"\r\n\r\n")
        return head.decode().splitlines()[0], body


@pytest.fixture
def asked() -> Iterator[Asked]:
    reactor = Reactor()
    sockets: list[tuple[socket.socket, bytes]] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        AssistantListener(listener, reactor, lambda sock, early: sockets.append((sock, early)))
        yield Asked(reactor, listener.getsockname()[1], sockets)
        for sock, _ in sockets:
            sock.close()
        gone = reactor.run_until(time.monotonic() + LIMIT_S, lambda: list(reactor._readers) == [listener.fileno()])
    assert gone, "every client that left was forgotten"


POST = b'POST /call HTTP/1.1\r\nHost: a\r\nContent-Length: 19\r\n\r\n{"assistantId":"a"}'


def test_each_order_is_answered_with_a_socket_address_of_its_own(asked: Asked) -> None:
    with socket.create_connection(("127.0.0.1", asked.port)) as client:
        answers = [asked.answer(client, POST), asked.answer(client, POST[:70], POST[70:])]
    calls = [json.loads(body) for _, body in answers]

    assert {status for status, _ in answers} == {"HTTP/1.1 201 Created"}
    assert [call["id"] for call in calls] == ["bench-1", "bench-2"]
    assert [call["transport"]["websocketCallUrl"] for call in calls] == [
        f"ws://127.0.0.1:{asked.port}/{number}/transport" for number in (1, 2)
    ]


def test_what_is_no_order_is_answered_with_an_empty_object(asked: Asked) -> None:
    with socket.create_connection(("127.0.0.1", asked.port)) as client:
        assert asked.answer(client, b"DELETE /call/bench-1 HTTP/1.1\r\nHost: a\r\n\r\n") == ("HTTP/1.1 200 OK", b"{}")


def test_an_upgrade_is_accepted_and_handed_on_with_what_came_behind_it(asked: Asked) -> None:
    request = websocket.upgrade_request("/1/transport", "a")
    with socket.create_connection(("127.0.0.1", asked.port)) as client:
        status, _ = asked.answer(client, request + b"early")
        ((handed, early),) = asked.sockets
        handed.sendall(b"hello")
        client.settimeout(LIMIT_S)

        assert status == "HTTP/1.1 101 Switching Protocols"
        assert early == b"early"
        assert client.recv(10) == b"hello"


def test_a_client_that_left_in_the_middle_of_a_request_harms_no_other(asked: Asked) -> None:
    with socket.create_connection(("127.0.0.1", asked.port)) as client:
        client.sendall(b"POST /call HT")
    with socket.create_connection(("127.0.0.1", asked.port)) as client:
        assert json.loads(asked.answer(client, POST)[1])["id"] == "bench-1"
