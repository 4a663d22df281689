"""Where real daemons follow each other under live calls: on one listening socket, or behind a load balancer."""

import json
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import trio

from relay.standin.assistant import Assistant, Behaviour, open_assistant
from relay.standin.phone import PhoneOptions
from tests.support.balancer import Balancer, open_balancer
from tests.support.daemons import AUTH_TOKEN, PUBLIC, VAPI_KEY, Daemon, activated, running_daemon, settings

OPTIONS = PhoneOptions(auth_token=AUTH_TOKEN, public_url=PUBLIC)


async def stop(process: trio.Process, number: signal.Signals) -> int:
    """Signal it, and wait for its end."""
    process.send_signal(number)
    with trio.fail_after(30):
        return await process.wait()


class Place(Protocol):
    """`url` is where Twilio asks. `starts_s`: how long each process took from its exec until it was ready."""

    url: str
    starts_s: list[float]

    async def kill(self) -> float:
        """Kill the process that has the calls; returns when another is ready, which may be at once."""
        ...

    def events(self, event: str) -> list[dict[str, Any]]:
        """Of all processes so far, in their order."""
        ...


class SocketPlace:
    """One listening socket, which the processes inherit, and one folder, with a database: systemd's way."""

    def __init__(self, listener: socket.socket, folder: Path, assistant: Assistant, stack: AsyncExitStack) -> None:
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.starts_s: list[float] = []
        self._text = settings(assistant.base_url, port=1, drain_timeout_s=0.0, state="sqlite:")
        self._listener, self._folder, self._stack = listener, folder, stack
        self._names: list[str] = []
        self.process: trio.Process

    async def start(self) -> float:
        """The next process; returns when it is ready."""
        began = trio.current_time()
        self._names.append(f"{len(self._names)}.log")
        process = activated(self._listener, self._folder, self._names[-1], self._text)
        self.process = await self._stack.enter_async_context(process)
        self.starts_s.append(trio.current_time() - began)
        return trio.current_time()

    async def kill(self) -> float:
        await stop(self.process, signal.SIGKILL)
        return await self.start()

    async def deploy(self) -> float:
        """Tell the process to stop, with its calls, and start the next; returns when that is ready."""
        assert await stop(self.process, signal.SIGTERM) == 0
        return await self.start()

    def events(self, event: str) -> list[dict[str, Any]]:
        lines = [line for name in self._names for line in (self._folder / name).read_text().splitlines()]
        return [line for line in map(json.loads, lines) if line["event"] == event]


class BalancedPlace:
    """Two processes on ports of their own, with one Redis, behind a load balancer."""

    def __init__(self, balancer: Balancer, state: str, assistant: Assistant, stack: AsyncExitStack) -> None:
        self.url = balancer.url
        self.balancer = balancer
        self.starts_s: list[float] = []
        self.daemons: list[Daemon] = []
        self._text = settings(assistant.base_url, drain_timeout_s=0.0, state=state)
        self._stack = stack

    async def start(self) -> None:
        """One more process, the last to be asked."""
        began = trio.current_time()
        daemon = await self._stack.enter_async_context(running_daemon(self._text))
        self.starts_s.append(trio.current_time() - began)
        self.daemons.append(daemon)
        self.balancer.ports.append(daemon.port)

    async def kill(self) -> float:
        """The other is ready already; a third takes its part."""
        port = self.balancer.ports.pop(0)
        (daemon,) = (daemon for daemon in self.daemons if daemon.port == port)
        await stop(daemon.process, signal.SIGKILL)
        ready_s = trio.current_time()
        await self.start()
        return ready_s

    def events(self, event: str) -> list[dict[str, Any]]:
        return [line for daemon in self.daemons for line in daemon.log() if line["event"] == event]


@asynccontextmanager
async def socket_place(folder: Path, behaviour: Behaviour) -> AsyncIterator[tuple[SocketPlace, Assistant]]:
    """With its first process."""
    async with open_assistant(key=VAPI_KEY, behaviour=behaviour, record_s=60) as assistant, AsyncExitStack() as stack:
        with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
            place = SocketPlace(listener, folder, assistant, stack)
            await place.start()
            yield place, assistant
            await stack.aclose()


@asynccontextmanager
async def balanced_place(state: str, behaviour: Behaviour) -> AsyncIterator[tuple[BalancedPlace, Assistant]]:
    """With its first two processes."""
    async with (
        open_assistant(key=VAPI_KEY, behaviour=behaviour, record_s=60) as assistant,
        open_balancer() as balancer,
        AsyncExitStack() as stack,
    ):
        place = BalancedPlace(balancer, state, assistant, stack)
        await place.start()
        await place.start()
        yield place, assistant
