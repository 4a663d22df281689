"""Keeps the status that a call has for its caller, and tells it whenever it changes.

| status       | meaning                                                                                     |
|--------------|---------------------------------------------------------------------------------------------|
| reconnecting | no assistant listens, and one is dialled; what the caller says is kept for it               |
| degraded     | the conversation goes on with less than was configured: another assistant than the first,   |
|              | or plain HTTP in the place of a WebSocket                                                   |
| live         | everything is as it should be                                                               |
| ended        | for good; the reason is the end reason                                                      |

Nothing is told before the first assistant listens or has failed.
"""

from collections.abc import Callable
from typing import Literal

from relay.call.report.events import StateChanged


class CallStatus:
    """One per call. `current` is what was told last."""

    def __init__(self, tell: Callable[[StateChanged], None]) -> None:
        self._publish = tell
        self._rung: int | None = None
        self._polling = False
        self.current: StateChanged | None = None

    def assistant_listens(self, rung: int) -> None:
        """The assistant of this rung of the ladder, 0 the first, has the call."""
        self._rung = rung
        self._tell_talking()

    def assistant_away(self, why: Literal["assistant lost", "assistant unavailable"]) -> None:
        """No assistant has the call; the next attempt follows."""
        self._rung = None
        self._tell(StateChanged("reconnecting", why))

    def carried_by(self, transport: Literal["websocket", "polling"]) -> None:
        """What brings the assistant's audio to a browser."""
        self._polling = transport == "polling"
        self._tell_talking()

    def ended(self, reason: str) -> None:
        """The call is over; the first reason stays."""
        self._tell(StateChanged("ended", reason))

    def _tell_talking(self) -> None:
        if self._rung is None:
            return
        lacking = ["assistant stands in"] * (self._rung > 0) + ["polling"] * self._polling
        self._tell(StateChanged("degraded", ", ".join(lacking)) if lacking else StateChanged("live", "assistant ready"))

    def _tell(self, state: StateChanged) -> None:
        if state != self.current and not (self.current and self.current.status == "ended"):
            self.current = state
            self._publish(state)
