"""What a call tells those who watch it: its client, and the operator's event feed."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import structlog
import trio

Role = Literal["user", "assistant"]
LISTENERS_MAX = 8
WAITING_MAX = 256
"""Half a minute of a lively conversation. The oldest make room, and how many did is told in their place."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Said:
    """Words so far, or for good."""

    role: Role
    text: str
    final: bool

    def __repr__(self) -> str:
        return f"Said(role={self.role!r}, final={self.final}, {len(self.text)} characters)"


@dataclass(frozen=True, slots=True)
class Speech:
    """Somebody began or stopped to speak."""

    role: Role
    started: bool


@dataclass(frozen=True, slots=True)
class StateChanged:
    """How the call stands for its caller. `reason` is the end reason once it is ended."""

    status: Literal["live", "reconnecting", "degraded", "ended"]
    reason: str


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The caller cut the assistant, and the `clear` is on the wire. `by` says who noticed first; `onset_to_clear_ms`
    counts from the decision where our detector noticed nothing."""

    turn: int
    by: Literal["caller", "assistant"]
    onset_to_clear_ms: float
    flushed_ms: float
    heard_ms: float


@dataclass(frozen=True, slots=True)
class FalseAlarm:
    """The assistant never agreed that this turn was interrupted: what was not heard of it plays again."""

    turn: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something failed on one leg; the call goes on, or a `StateChanged` says that it does not."""

    leg: Literal["caller", "assistant", "relay"]
    code: str
    what: str


CallEvent = Said | Speech | StateChanged | Interrupted | FalseAlarm | Trouble
Listener = Callable[[CallEvent], None]


class EventFeed:
    """One per call. Nothing is kept: who listens decides how much it holds, and what it drops when it is full."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def publish(self, event: CallEvent) -> None:
        """Tell everybody, at once. A listener that fails is removed: it cannot harm the call."""
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception:
                self._listeners.remove(listener)
                log.exception("events.listener_failed")

    @contextmanager
    def listening(self, listener: Listener) -> Iterator[bool]:
        """Have `listener` called with every event; it must not block. False: too many listen already."""
        room = len(self._listeners) < LISTENERS_MAX
        if room:
            self._listeners.append(listener)
        try:
            yield room
        finally:
            if listener in self._listeners:
                self._listeners.remove(listener)


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
