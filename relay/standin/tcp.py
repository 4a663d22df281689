"""Losing a TCP connection on purpose."""

import socket
import struct

import trio


async def reset(stream: trio.SocketStream) -> None:
    """Close with a TCP reset: the peer gets no goodbye, and what was under way is lost."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await trio.aclose_forcefully(stream)
