"""The load's loop of sockets and timers, and its end of a WebSocket."""

import socket
import time
from collections.abc import Iterator
from functools import partial

import pytest

from relay.bench import websocket
from relay.bench.reactor import LoadLink, Reactor
from relay.bench.websocket import Deframer, frame
from tests.support.streams import tcp_sockets

LIMIT_S = 10.0


def test_a_step_does_what_is_due_and_says_when_the_next_is() -> None:
    reactor, done = Reactor(), []
    now = time.monotonic()

    def often() -> float | None:
        done.append("often")
        return now + 3600 if len(done) > 2 else now

    reactor.at(now, often)
    reactor.at(now + 7200, lambda: None)

    assert reactor.work() == now + 3600
    assert done == ["often"] * 3


def test_a_step_reads_what_has_come_and_never_waits() -> None:
    reactor, got = Reactor(), []
    here, there = socket.socketpair()
    with here, there:
        reactor.watch(here, lambda: got.append(here.recv(10)))
        assert reactor.work() is None
        there.send(b"hello")
        reactor.work()

    assert got == [b"hello"]


def test_timers_fire_in_the_order_of_their_times_and_with_the_same_time_in_the_order_of_asking() -> None:
    reactor, fired = Reactor(), list[str]()
    now = time.monotonic()
    for name, at in (("late", now + 0.002), ("first", now), ("second", now)):
        reactor.at(at, partial(fired.append, name))

    assert reactor.run_until(now + LIMIT_S, lambda: len(fired) == 3)
    assert fired == ["first", "second", "late"]


def test_it_works_until_it_is_done_or_until_the_deadline() -> None:
    reactor = Reactor()
    assert reactor.run_until(time.monotonic() + LIMIT_S, lambda: True)

    deadline = time.monotonic() + 0.01
    assert not reactor.run_until(deadline)
    assert time.monotonic() >= deadline


def test_a_timer_that_wants_to_be_called_never_again_is_not() -> None:
    reactor, fired = Reactor(), []
    reactor.at(time.monotonic(), lambda: fired.append(1))
    reactor.run_until(time.monotonic() + 0.005)

    assert fired == [1]


def test_how_late_timers_were_is_kept_only_while_measuring() -> None:
    reactor = Reactor()
    reactor.at(time.monotonic() - 1, lambda: None)
    reactor.work()
    before = list(reactor.late_s)
    reactor.measuring = True
    reactor.at(time.monotonic() - 1, lambda: None)
    reactor.work()

    assert before == []
    assert reactor.late_s == [pytest.approx(1, abs=0.5)]


def test_a_socket_that_was_forgotten_is_not_read_any_more() -> None:
    reactor, got = Reactor(), []
    here, there = socket.socketpair()
    with here, there:
        reactor.watch(here, lambda: got.append(here.recv(10)))
        reactor.forget(here)
        reactor.forget(here)
        there.send(b"hello")
        reactor.work()

    assert got == []


class Linked:
    """A link, what it was sent, and the far end of its socket."""

    def __init__(self, here: socket.socket, there: socket.socket, *, client: bool) -> None:
        self.reactor = Reactor()
        self.messages: list[tuple[int, bytes]] = []
        self.link = LoadLink(here, self.reactor, lambda *message: self.messages.append(message), client=client)
        self.far = there
        self.far.settimeout(LIMIT_S)
        self._deframer = Deframer()

    def say(self, payload: bytes, opcode: int) -> None:
        self.far.sendall(frame(payload, opcode, masked=True))
        self.reactor.run_until(time.monotonic() + LIMIT_S, lambda: bool(self.messages) or self.link.closed)

    def hear(self) -> list[tuple[int, bytes]]:
        """The next messages at the far end."""
        while not (messages := self._deframer.feed(self.far.recv(1 << 16))):
            pass
        return messages


@pytest.fixture
def linked() -> Iterator[Linked]:
    with tcp_sockets() as (here, there):
        yield Linked(here, there, client=False)


def test_messages_go_both_ways(linked: Linked) -> None:
    linked.link.send(b"down", websocket.BINARY)
    linked.say(b"up", websocket.TEXT)

    assert linked.hear() == [(websocket.BINARY, b"down")]
    assert linked.messages == [(websocket.TEXT, b"up")]


@pytest.mark.parametrize("client", [True, False])
def test_only_a_client_masks(client: bool) -> None:
    with tcp_sockets() as (here, there):
        Linked(here, there, client=client).link.send(b"x", websocket.BINARY)
        assert bool(there.recv(100)[1] & 0x80) is client


def test_what_came_with_the_handshake_counts(linked: Linked) -> None:
    linked.link.feed(frame(b"early", websocket.BINARY, masked=True))

    assert linked.messages == [(websocket.BINARY, b"early")]


def test_a_ping_is_answered_and_a_pong_is_not(linked: Linked) -> None:
    linked.link.feed(frame(b"old", websocket.PONG, masked=True) + frame(b"alive", websocket.PING, masked=True))

    assert linked.hear() == [(websocket.PONG, b"alive")]
    assert linked.messages == []


def test_a_goodbye_is_returned_and_ends_the_link(linked: Linked) -> None:
    linked.say(b"\x03\xe8bye", websocket.CLOSE)

    assert linked.hear() == [(websocket.CLOSE, b"\x03\xe8")]
    assert linked.link.closed


def test_a_peer_that_is_gone_ends_the_link_and_sending_then_does_nothing(linked: Linked) -> None:
    linked.far.close()
    assert linked.reactor.run_until(time.monotonic() + LIMIT_S, lambda: linked.link.closed)

    linked.link.send(b"x", websocket.BINARY)


def test_what_the_socket_does_not_take_now_goes_first_the_next_time(linked: Linked) -> None:
    """Two messages of 8 MB are more than a loopback socket holds."""
    sizes = [8_000_000, 8_000_000, 1]
    for number, size in enumerate(sizes):
        linked.link.send(bytes([number]) * size, websocket.BINARY)
    received: list[tuple[int, bytes]] = []
    while len(received) < 3:
        linked.far.setblocking(False)
        try:
            received += linked._deframer.feed(linked.far.recv(1 << 20))
        except BlockingIOError:
            linked.link.send(b"again", websocket.PING)

    assert [payload for opcode, payload in received if opcode == websocket.BINARY] == [
        bytes([number]) * size for number, size in enumerate(sizes)
    ]
