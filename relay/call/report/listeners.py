"""Tells listeners what happens in calls, at once, and keeps it in a queue for one who may be slow."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, NamedTuple, TypeVar

import structlog
import trio

from relay.call.report.events import CallEvent
from relay.wakeup import Signal

LISTENERS_MAX = 8
"""Each costs a call at every event. The relay's own parts take no place from those outside it."""
WAITING_MAX = 256
"""Half a minute of a lively conversation. The oldest make room, and how many did is told in their place."""

News = TypeVar("News")

log = structlog.get_logger(__name__)


class CallNews(NamedTuple):
    """What happened in one of the calls, `at_s` after that call began."""

    call_id: str
    at_s: float
    event: CallEvent


class Listeners(Generic[News]):
    """Functions that are called with all news, at once. One that fails is removed: it cannot harm a call."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[News], None]] = []
        self.guests = 0
        """How many of them are outside the relay."""

    def tell(self, news: News) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(news)
            except Exception:
                self._listeners.remove(listener)
                log.exception("events.listener_failed")

    @contextmanager
    def listening(self, listener: Callable[[News], None]) -> Iterator[None]:
        """Have `listener`, a part of the relay, called with all news; it must not block.

        Nothing is kept for it: a listener decides how much it holds, and what it drops when it is full.
        """
        self._listeners.append(listener)
        try:
            yield
        finally:
            if listener in self._listeners:
                self._listeners.remove(listener)

    @contextmanager
    def listening_guest(self, listener: Callable[[News], None]) -> Iterator[bool]:
        """As `listening`, for somebody outside the relay. False: LISTENERS_MAX of them listen already."""
        if self.guests >= LISTENERS_MAX:
            yield False
            return
        self.guests += 1
        try:
            with self.listening(listener):
                yield True
        finally:
            self.guests -= 1


class NewsQueue(Generic[News]):
    """The news that one listener has still to be told. It is bounded, because nothing waits for a listener.

    `push` is for `Listeners.listening`. Of more than `waiting_max` the oldest are dropped, and counted.
    """

    def __init__(self, waiting_max: int) -> None:
        self._waiting: deque[News] = deque()
        self._waiting_max = waiting_max
        self._dropped = 0
        self._closed = False
        self._changed = Signal()

    def push(self, news: News) -> None:
        """Never waits. Does nothing once the queue is closed."""
        if self._closed:
            return
        if len(self._waiting) == self._waiting_max:
            self._waiting.popleft()
            self._dropped += 1
        self._waiting.append(news)
        self._changed.fire()

    def close(self) -> None:
        """Nothing more will come; what waits can still be taken."""
        self._closed = True
        self._changed.fire()

    async def take(self) -> tuple[int, list[News]]:
        """How many were dropped since the last time, and all that wait behind those. Waits until there is something.

        Raises trio.EndOfChannel when the queue is closed and empty.
        """
        await trio.lowlevel.checkpoint()
        while not self._waiting:
            if self._closed:
                raise trio.EndOfChannel
            await self._changed.wait()
        taken = (self._dropped, list(self._waiting))
        self._dropped = 0
        self._waiting.clear()
        return taken
