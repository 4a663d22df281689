"""The load's loop, worked step by step."""

import socket
import time

from relay.bench.reactor import Reactor


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
