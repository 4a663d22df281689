"""What systemd is told, over a real datagram socket."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from relay.daemon.notify import Notifier, report


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.setblocking(False)
        yield heard


def received(listener: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(listener.recv(4096).decode())
        except BlockingIOError:
            return messages


def test_each_message_is_one_datagram(listener: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": listener.getsockname()})
    notifier.send("READY=1", "STATUS=no calls")
    notifier.close()

    assert received(listener) == ["READY=1\nSTATUS=no calls"]


def test_an_abstract_address_begins_with_an_at_sign() -> None:
    name = f"relay-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"\0{name}")
        heard.setblocking(False)
        notifier = Notifier({"NOTIFY_SOCKET": f"@{name}"})
        notifier.send("READY=1")
        notifier.close()

        assert received(heard) == ["READY=1"]


@pytest.mark.parametrize("address", ["", "/nowhere/notify", "@nobody-listens-here"])
def test_nobody_to_tell_is_no_error(address: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": address})
    notifier.send("READY=1")
    notifier.close()


def test_a_full_socket_loses_the_message_and_does_not_block(listener: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": listener.getsockname()})
    for _ in range(10_000):
        notifier.send("STATUS=x")
    notifier.close()

    assert 0 < len(received(listener)) < 10_000


@pytest.mark.parametrize(
    ("environ", "watchdog_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_fed_when_this_process_is_watched(environ: dict[str, str], watchdog_s: float | None) -> None:
    notifier = Notifier(environ)
    notifier.close()

    assert notifier.watchdog_s == watchdog_s


async def test_reports_feed_the_watchdog_twice_in_its_time(listener: socket.socket, autojump_clock: MockClock) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": listener.getsockname(), "WATCHDOG_USEC": "4000000"})
    with trio.move_on_after(7):
        await report(notifier, lambda: "2 calls")
    notifier.close()

    assert received(listener) == ["WATCHDOG=1\nSTATUS=2 calls"] * 4


async def test_without_a_watchdog_only_the_status_is_told(listener: socket.socket, autojump_clock: MockClock) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": listener.getsockname()})
    with trio.move_on_after(7):
        await report(notifier, lambda: "0 calls")
    notifier.close()

    assert received(listener) == ["STATUS=0 calls"] * 2
