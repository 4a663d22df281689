"""What one listener has still to be told of a call: bounded, because nothing waits for a listener."""

from collections import deque

import trio

from relay.call.events import CallEvent

WAITING_MAX = 256
"""Half a minute of a lively conversation. The oldest make room, and how many did is told in their place."""


class EventQueue:
    """`push` is for `EventFeed.listening`. Each event keeps the time at which it happened, on trio's clock."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, CallEvent]] = deque()
        self._dropped = 0
        self._news = trio.Event()

    def push(self, event: CallEvent) -> None:
        """Never waits."""
        if len(self._waiting) == WAITING_MAX:
            self._waiting.popleft()
            self._dropped += 1
        self._waiting.append((trio.current_time(), event))
        self._news.set()

    async def take(self) -> tuple[int, list[tuple[float, CallEvent]]]:
        """How many were dropped since the last time, and all that wait behind those. Waits until there is something."""
        await self._news.wait()
        self._news = trio.Event()
        taken = (self._dropped, list(self._waiting))
        self._dropped = 0
        self._waiting.clear()
        return taken
