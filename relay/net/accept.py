"""Accepts connections for as long as enough descriptors are left for the calls that run.

| state     | meaning                                    | leaves when                                                |
|-----------|--------------------------------------------|------------------------------------------------------------|
| accepting | every connection is served                 | only the reserve is left, or the kernel has no room        |
|           |                                            | -> paused                                                  |
| paused    | connections wait in the kernel, as many as | there is room again, which is looked for every             |
|           | the listener's backlog holds               | `LOOK_AGAIN_S` -> accepting                                |
"""

import errno
import logging
import math
import os
import resource
from collections.abc import Awaitable, Callable

import trio

RESERVE_MAX = 256
"""The reserve is a quarter of the descriptors that the process may have, and no more than this. It is for what a
running call needs: to dial an assistant that was lost, to look up a name, to open the store again."""
LOOK_AGAIN_S = 0.1
SAY_AGAIN_S = 60.0
_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}
"""accept(2): too many files are open in this process or on this machine, or there is no memory for one more."""

_log = logging.getLogger(__name__)


async def accept_connections(
    listener: trio.SocketListener, serve: Callable[[trio.SocketStream], Awaitable[None]], connections: trio.Nursery
) -> None:
    """Start `serve` in the nursery for each connection, until cancelled. A stream is closed when its `serve` returns.

    A pause is logged, once a minute while there are any. Raises OSError when the listener cannot be used at all.
    """
    said_at = -math.inf
    while True:
        why = _why_none(listener.socket.fileno())
        if why is None:
            try:
                connections.start_soon(_serve, serve, await listener.accept())
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                why = error.strerror
        if why is not None:
            if trio.current_time() >= said_at + SAY_AGAIN_S:
                said_at = trio.current_time()
                _log.warning("accept.paused", extra={"error": why})
            await trio.sleep(LOOK_AGAIN_S)


async def _serve(serve: Callable[[trio.SocketStream], Awaitable[None]], stream: trio.SocketStream) -> None:
    try:
        await serve(stream)
    finally:
        await trio.aclose_forcefully(stream)


def _why_none(descriptor: int) -> str | None:
    """Why no connection is to be accepted now, if so. `descriptor` is any that is open.

    A new descriptor has the lowest number that is free (open(2)): one within the reserve means that all below are used.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    reserve = min(RESERVE_MAX, limit // 4)
    try:
        lowest_free = os.dup(descriptor)
    except OSError as error:
        return error.strerror
    os.close(lowest_free)
    return f"{reserve} of {limit} descriptors are left" if lowest_free >= limit - reserve else None
