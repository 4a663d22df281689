"""A TCP connection is lost on purpose, as when a process is killed or a network gives up."""

import socket
import struct
from contextlib import suppress

import trio

_LINGER_0_S = struct.pack("ii", 1, 0)
"""Closing discards what is unsent and sends a reset (socket(7), SO_LINGER)."""


def reset(stream: trio.SocketStream) -> None:
    """Close at once with a TCP reset: the peer gets no goodbye, and what is under way is lost.

    Who waits on the stream gets `trio.ClosedResourceError`. A stream that is closed already stays closed.
    """
    with suppress(OSError):
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0_S)
    stream.socket.close()
