"""A connection with an assistant as a task of its own: several may be under way, one of them has the conversation."""

from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
import trio

from relay.call.connection import Connection, Ending
from relay.call.dialer import Dialer
from relay.logic.ladder import Ladder

DELETE_S = 0.8
STABLE_S = 2.0
"""A connection that breaks off sooner has not helped: its attempt stays counted."""

log = structlog.get_logger(__name__)


@dataclass(eq=False)
class Talk:
    """`rung` is the assistant's place in the list, `ladder` who granted the dial and learns what came of it."""

    rung: int
    ladder: Ladder
    dialer: Dialer
    connection: Connection
    dialed_at: float = field(default_factory=trio.current_time)
    ending: Ending | None = None
    over: trio.Event = field(default_factory=trio.Event)

    @property
    def lasted(self) -> bool:
        """It was live for long enough to say that dialling this assistant works."""
        return self.connection.lived_s >= STABLE_S

    async def run(self, call_id: str, connected: Callable[[], None]) -> None:
        """Until the connection is over; a call that does not know it is deleted then. Cancelled, it takes 2 s."""
        try:
            self.ending = await self.connection.run(call_id, listening=connected)
        finally:
            self._tell_ladder()
            self.over.set()
            if self.connection.call_id is not None and not self.connection.hung_up:
                await delete(self.dialer, self.connection.call_id)

    def _tell_ladder(self) -> None:
        now = trio.current_time()
        if self.ending in {Ending.FAILED, Ending.REFUSED}:
            self.ladder.failed(self.rung, now, retriable=self.ending is Ending.FAILED)
        elif self.ending is None and self.connection.began_at is None:
            self.ladder.abandoned(self.rung, now)
        elif self.ending is not None and self.lasted:
            self.ladder.succeeded(self.rung)


async def delete(dialer: Dialer, assistant_call_id: str) -> None:
    """Delete a call, whatever else is cancelled, within `DELETE_S`."""
    with trio.move_on_after(DELETE_S, shield=True) as limit:
        await dialer.delete(assistant_call_id)
    if limit.cancelled_caught:
        log.warning("assistant.delete_failed", error=f"no answer in {DELETE_S:g} s")
