"""Defines what the relay asks of a WebSocket, whichever library carries it."""

from collections.abc import Callable
from typing import Protocol, TypeVar

Found = TypeVar("Found")

WantedAt = Callable[[], float]
"""Says at which time of the clock the next message is of use; in the past: as it comes. A socket may leave it unread so
long, and asks behind each message."""


class MessageSocket(Protocol):
    """One open WebSocket. One task reads it and one task writes it; anyone may close it."""

    async def receive(self) -> str | bytes:
        """Wait for the next whole message: text as str, binary as bytes.

        Cancelled, it has taken no message. Always a checkpoint.

        Raises:
            LegClosed: the peer said goodbye, and the library below can tell.
            LegLost: the connection is gone in any other way, or was closed here.
        """
        ...

    async def receive_each(
        self, take: Callable[[str | bytes], Found | None], wanted_at: WantedAt | None = None
    ) -> Found:
        """Give each message to `take`, until that returns something, which is returned.

        `take` may be called by another task, in the context of this one: it must not wait. What it raises is raised
        here; otherwise as `receive`.

        With `wanted_at` binary messages are parts of one stream: those that wait in a row may be given as one.
        """
        ...

    async def send(self, message: str | bytes) -> None:
        """Write one message. Always a point of cancellation; others get their turn within a few messages.

        Not to be cancelled half-way: the rest of a frame cannot be written later, so a socket
        whose send was cancelled is good for nothing but `close`.

        Raises:
            LegLost: the socket is gone, or was closed here.
        """
        ...

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye if the peer still listens, and free the connection.

        Takes about two seconds at most, shielded from cancellation. A second call does nothing,
        a dead peer raises nothing, a `receive` or `send` under way ends with LegLost.
        """
        ...


class PromptSocket(MessageSocket, Protocol):
    """A socket whose messages can leave without a round of the scheduler."""

    def send_now(self, *messages: str | bytes) -> bool:
        """Write these whole messages in this instant, as one, if the socket takes them: never while a `send` is under
        way.

        False: nothing was written, and `send` will wait, or say what is wrong.
        """
        ...
