"""The listening socket that a service manager keeps open between one process and the next (sd_listen_fds(3))."""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from relay.net.listen import inherited_listener


def environ(count: int = 1, names: str = "", pid: int | None = None) -> dict[str, str]:
    return {"LISTEN_PID": str(pid or os.getpid()), "LISTEN_FDS": str(count), "LISTEN_FDNAMES": names}


@pytest.fixture
def fds() -> Iterator[int]:
    """The number of the first of a few file descriptors in a row, all closed at the end."""
    first = 200
    yield first
    for number in range(first, first + 4):
        with suppress(OSError):
            os.close(number)


def given(number: int, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, *, listen: bool = True) -> int:
    """Puts a socket at this file descriptor, as the service manager does; its port."""
    with socket.socket(family, kind) as opened:
        opened.bind("" if family == socket.AF_UNIX else ("127.0.0.1", 0))
        if listen:
            opened.listen()
        os.dup2(opened.fileno(), number)
        return 0 if family == socket.AF_UNIX else int(opened.getsockname()[1])


def test_the_socket_that_was_given_is_ready_to_serve_and_not_passed_on(fds: int) -> None:
    port = given(fds)
    listener = inherited_listener(environ(names="relay.socket"), first_fd=fds, user_timeout_ms=1234)

    assert listener is not None
    with listener:
        assert listener.getsockname() == ("127.0.0.1", port)
        assert not listener.getblocking()
        assert not listener.get_inheritable()
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 1234


@pytest.mark.parametrize(
    "variables",
    [
        {},
        environ(pid=1),
        environ(count=0),
        {"LISTEN_FDS": "1"},
        {"LISTEN_PID": str(os.getpid())},
        {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "one"},
    ],
)
def test_without_a_socket_for_this_process_there_is_none(variables: dict[str, str], fds: int) -> None:
    given(fds)

    assert inherited_listener(variables, first_fd=fds) is None


def test_of_several_the_one_of_our_name_is_taken(fds: int) -> None:
    given(fds)
    port = given(fds + 1)
    listener = inherited_listener(environ(2, "admin:relay"), first_fd=fds)

    assert listener is not None
    assert listener.getsockname()[1] == port
    listener.close()


@pytest.mark.parametrize("names", ["", "one:two", "relay:relay"])
def test_several_without_one_of_our_name_are_refused(names: str, fds: int) -> None:
    given(fds)
    given(fds + 1)
    with pytest.raises(OSError, match="2 sockets were inherited"):
        inherited_listener(environ(2, names), first_fd=fds)


@pytest.mark.parametrize(
    ("family", "kind", "listen"),
    [
        (socket.AF_INET, socket.SOCK_STREAM, False),
        (socket.AF_INET, socket.SOCK_DGRAM, False),
        (socket.AF_UNIX, socket.SOCK_STREAM, True),
    ],
)
def test_what_cannot_be_served_on_is_refused_and_closed(family: int, kind: int, *, listen: bool, fds: int) -> None:
    given(fds, family, kind, listen=listen)
    with pytest.raises(OSError, match="not a listening TCP socket"):
        inherited_listener(environ(), first_fd=fds)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fds)


def test_what_is_no_socket_is_refused(fds: int) -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        inherited_listener(environ(), first_fd=fds)


def test_closing_it_here_leaves_it_to_the_next_process(fds: int) -> None:
    with socket.socket() as kept:
        kept.bind(("127.0.0.1", 0))
        kept.listen()
        os.dup2(kept.fileno(), fds)
        listener = inherited_listener(environ(), first_fd=fds)
        assert listener is not None
        listener.close()

        with socket.create_connection(kept.getsockname(), timeout=20) as waiting:
            kept.setblocking(True)
            accepted, _ = kept.accept()
            with accepted:
                accepted.sendall(b"served")
                assert waiting.recv(10) == b"served"
