"""Sets what every TCP and TLS connection of the relay has in common."""

import socket
import ssl
from functools import cache
from typing import Protocol

USER_TIMEOUT_MS = 5_000
"""TCP by itself tries for a quarter of an hour (tcp(7), tcp_retries2): by then nobody is on the line any more."""
_KEEPALIVE_IDLE_S = 10
_KEEPALIVE_INTERVAL_S = 5
_KEEPALIVE_PROBES = 3


TCP_CLOSE, TCP_CLOSE_WAIT = 7, 8
"""States of a connection that its peer has reset, or has ended its side of (Linux, include/net/tcp_states.h)."""


class _HasOptions(Protocol):
    def setsockopt(self, level: int, option: int, value: int, /) -> None: ...


class _TellsOptions(Protocol):
    def getsockopt(self, level: int, option: int, length: int, /) -> bytes: ...


def tcp_state(connection: _TellsOptions) -> int:
    """The state of a connection in the kernel, which is known before all that came is read (tcp(7), TCP_INFO).

    Raises OSError if it is closed.
    """
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


def guard_tcp(connection: _HasOptions, *, user_timeout_ms: int = USER_TIMEOUT_MS) -> None:
    """Make the kernel give up a TCP connection whose peer is gone or does not read (Linux, tcp(7)).

    Unacknowledged or unaccepted data older than `user_timeout_ms` breaks the connection, and an idle
    peer is probed. Small messages leave at once. A listening socket hands all of it to what it accepts.
    """
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, user_timeout_ms)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_PROBES)


@cache
def default_tls() -> ssl.SSLContext:
    """The client context that trusts what the system trusts; made once, because loading the roots blocks."""
    return ssl.create_default_context()
