"""A load balancer: TCP connections go to the first process of an order that accepts them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import trio

GONE = (trio.BrokenResourceError, trio.ClosedResourceError)
READ_BYTES = 65_536


@dataclass
class Balancer:
    """`ports`: the processes of this machine, by preference; with `in_turn` the next one is preferred each time.

    When one side of a connection is gone, the other is closed.
    """

    url: str
    ports: list[int] = field(default_factory=list)
    in_turn: bool = False

    async def serve(self, client: trio.SocketStream) -> None:
        process = await self._connect()
        if process is None:
            await trio.aclose_forcefully(client)
            return
        async with client, process, trio.open_nursery() as nursery:
            for source, sink in ((client, process), (process, client)):
                nursery.start_soon(_pass_on, source, sink, nursery.cancel_scope)

    async def _connect(self) -> trio.SocketStream | None:
        order = list(self.ports)
        if self.in_turn:
            self.ports.append(self.ports.pop(0))
        for port in order:
            with suppress(OSError):
                return await trio.open_tcp_stream("127.0.0.1", port)
        return None


async def _pass_on(source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope) -> None:
    with suppress(*GONE):
        while data := await source.receive_some(READ_BYTES):
            await sink.send_all(data)
    scope.cancel("one side is gone")


@asynccontextmanager
async def open_balancer() -> AsyncIterator[Balancer]:
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        balancer = Balancer(f"http://127.0.0.1:{listener.socket.getsockname()[1]}")
        nursery.start_soon(trio.serve_listeners, balancer.serve, [listener])
        yield balancer
        nursery.cancel_scope.cancel()
