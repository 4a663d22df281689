"""Says at once that a peer has hung up, although nobody reads what it has sent. Linux (epoll(7), EPOLLRDHUP).

Who waits for a socket to be readable learns nothing of its end while bytes are unread. So those who want to know are
in an epoll of their own, which is told nothing but ends, and which one task waits for.

| a socket is | in the epoll | leaves when                                                             |
|-------------|--------------|-------------------------------------------------------------------------|
| watched     | yes          | its peer has ended or reset the connection, or `watch` is left -> apart |
| apart       | no           | `watch` is entered -> watched                                           |
"""

import select
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import trio

TOLD_PER_STEP = 4
"""Of a crowd that hangs up together so many are told in a step of the event loop, and the others in the next ones: each
then refuses its request, which costs a quarter of a millisecond."""


class HangUps:
    """One for a server. `run` must run; `close` is for its end."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, trio.CancelScope] = {}

    @contextmanager
    def watch(self, socket: trio.socket.SocketType) -> Iterator[trio.CancelScope]:
        """A scope that is cancelled when the peer of a TCP connection hangs up, or has done so, and when it is closed
        here already. One at a time for a connection."""
        descriptor = socket.fileno()
        with trio.CancelScope() as scope:
            try:
                self._epoll.register(descriptor, select.EPOLLRDHUP | select.EPOLLONESHOT)
            except (OSError, ValueError):
                scope.cancel()
            else:
                self._watched[descriptor] = scope
            try:
                yield scope
            finally:
                if self._watched.get(descriptor) is scope:  # else it was closed, and another has its number
                    del self._watched[descriptor]
                    with suppress(OSError, ValueError):
                        self._epoll.unregister(descriptor)

    async def run(self) -> None:
        """Cancel scopes until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            for descriptor, _ in self._epoll.poll(0, TOLD_PER_STEP):
                if scope := self._watched.get(descriptor):
                    scope.cancel()

    def close(self) -> None:
        """Nothing is watched any more."""
        self._epoll.close()
