"""Says who of many strangers can be read: of a crowd that is ready together a few in a step of the event loop.

trio wakes all that are ready in one step, in which no call hears or sends anything, and most of what a connection costs
it costs then. So strangers' sockets are in an epoll of their own, of which one task takes a few at a time. Linux
(epoll(7)).

| a socket is | in the epoll | leaves when                                                                     |
|-------------|--------------|---------------------------------------------------------------------------------|
| apart       | no           | `wait` -> waiting                                                               |
| waiting     | yes          | it can be read, its peer has left, or `wait` is cancelled -> apart; `forget`    |
|             |              | -> gone. There is no deadline here: the connection's own cancels it             |
| gone        | no           |                                                                                 |
"""

import select
from contextlib import suppress

import trio

TOLD_PER_STEP = 4
"""A connection that ends takes some ten steps of 0.02 ms: ten rounds of the event loop have those of so many more."""


class Readiness:
    """One for a server. `run` must run; `close` is for its end."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._waiting: dict[int, trio.lowlevel.Task] = {}

    async def wait(self, socket: trio.socket.SocketType) -> None:
        """Return when a socket can be read, or its peer has left. Always a checkpoint.

        One task at a time waits for a socket. Raises ClosedResourceError when it was closed here before; who closes it
        meanwhile calls `forget`, and then this returns.
        """
        descriptor, task = socket.fileno(), trio.lowlevel.current_task()
        try:
            self._epoll.register(descriptor, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT)
        except (OSError, ValueError) as error:
            raise trio.ClosedResourceError("the socket is closed") from error
        self._waiting[descriptor] = task

        def abort(_: object) -> trio.lowlevel.Abort:
            if self._waiting.get(descriptor) is task:  # else it was closed, and another has its number
                self._leave(descriptor)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def forget(self, socket: trio.socket.SocketType) -> None:
        """Wake who waits for a socket that is about to be closed."""
        self._wake(socket.fileno())

    async def run(self) -> None:
        """Wake who waits until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            for descriptor, _ in self._epoll.poll(0, TOLD_PER_STEP):
                self._wake(descriptor)

    def close(self) -> None:
        """Nobody waits any more."""
        self._epoll.close()

    def _wake(self, descriptor: int) -> None:
        if (task := self._waiting.get(descriptor)) is not None:
            self._leave(descriptor)
            trio.lowlevel.reschedule(task)

    def _leave(self, descriptor: int) -> None:
        del self._waiting[descriptor]
        with suppress(OSError, ValueError):  # closed already
            self._epoll.unregister(descriptor)
