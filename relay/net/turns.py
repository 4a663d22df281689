"""Gives connections their turns to be read, one after the other, and before each turn whoever else is ready.

trio runs whatever is ready in one round, in which no call hears or sends anything twice. Hundreds of requests that come
together would be one such round, and so many under way would make all that follow long. So the next is read when
nothing is left to be done: not for a call, and not for the request before, which may have begun one.
"""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio._core import wait_all_tasks_blocked  # type: ignore[attr-defined]  # as documented for trio.testing

TURN_MAX_S = 0.02
"""The next connection is read so long after the one before in any case, also where there is always something to do."""
LINES_PER_S = 2000.0
LINES_BURST_S = 0.1
"""How many lines are read in the bodies of all connections together; after a pause, as many at once as in
LINES_BURST_S. A body with a length has none, unless its bytes look like one."""


class Turns:
    """The order in which connections are read. One for all connections of a server.

    Clients have their turns in a circle, however many connections each has. A client is any text.
    """

    def __init__(self) -> None:
        self._turn = _Circle()
        self._turn_for_lines = _Circle()
        self._over_s = float("-inf")
        self._lines_due_s = float("-inf")

    async def wait(self, client: str) -> None:
        """Return when it is the client's turn. Always a checkpoint."""
        async with self._turn.hold(client):
            await trio.lowlevel.checkpoint()
            if trio.current_time() < self._over_s:
                with trio.move_on_at(self._over_s):
                    await wait_all_tasks_blocked()
            self._over_s = trio.current_time() + TURN_MAX_S

    async def wait_for_lines(self, client: str, lines: int) -> None:
        """Return when so many lines of a body may be handed on. Always a checkpoint."""
        async with self._turn_for_lines.hold(client):
            await trio.sleep_until(self._lines_due_s)
            began_s = max(self._lines_due_s, trio.current_time() - LINES_BURST_S)
            self._lines_due_s = began_s + lines / LINES_PER_S


class _Circle:
    """A lock. Of those that wait for it, the clients have it in turn, and of one client who came first."""

    def __init__(self) -> None:
        self._held = False
        self._waiting: dict[str, deque[trio.Event]] = {}

    @asynccontextmanager
    async def hold(self, client: str) -> AsyncIterator[None]:
        if self._held:
            await self._wait(client)
        self._held = True
        try:
            yield
        finally:
            self._hand_on()

    async def _wait(self, client: str) -> None:
        mine, ours = trio.Event(), self._waiting.setdefault(client, deque())
        ours.append(mine)
        try:
            await mine.wait()
        except trio.Cancelled:
            if mine.is_set():
                self._hand_on()
            else:
                ours.remove(mine)
                if not ours:
                    del self._waiting[client]
            raise

    def _hand_on(self) -> None:
        client = next(iter(self._waiting), None)
        if client is None:
            self._held = False
            return
        theirs = self._waiting.pop(client)
        theirs.popleft().set()
        if theirs:
            self._waiting[client] = theirs
