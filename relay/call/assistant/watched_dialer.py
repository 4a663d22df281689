"""Stands around a dialer: keeps the addresses of its calls out of the log, and remembers whether dialing works."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import trio

from relay.call.assistant.dialer import AssistantSocket, Dialer, NewCall
from relay.errors import LegLost
from relay.media.frames import AudioFormat
from relay.redaction import Redactor
from relay.wire.vapi_call import CallCreated

FAILING_S = 60.0
"""How long a failure counts: without new calls nothing else would ever show that the assistant is back."""


class WatchedDialer:
    """A dialer like the one inside, for calls and for the health endpoints."""

    def __init__(self, inner: Dialer, redactor: Redactor) -> None:
        self._inner = inner
        self._redactor = redactor
        self._failed_at: float | None = None

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def format(self) -> AudioFormat:
        return self._inner.format

    @property
    def max_call_s(self) -> float | None:
        return self._inner.max_call_s

    @property
    def create_timeout_s(self) -> float:
        return self._inner.create_timeout_s

    @property
    def failing(self) -> bool:
        """Whether the last dial failed, not long ago. False before the first."""
        return self._failed_at is not None and trio.current_time() - self._failed_at < FAILING_S

    async def create(
        self, wanted: NewCall, *, fresh: bool = False, answering: Callable[[], None] | None = None
    ) -> CallCreated:
        """See Dialer. One request that fails says little: another may have brought the call."""
        return await self._inner.create(wanted, fresh=fresh, answering=answering)

    def note_unavailable(self) -> None:
        """See Dialer."""
        self._failed_at = trio.current_time()

    def connect(self, created: CallCreated) -> AbstractAsyncContextManager[AssistantSocket]:
        """See Dialer. The call's addresses are hidden from the log while the context is open."""
        return self._connected(created)

    @asynccontextmanager
    async def _connected(self, created: CallCreated) -> AsyncIterator[AssistantSocket]:
        hidden = [url for url in (created.socket_url, created.control_url) if url]
        for url in hidden:
            self._redactor.add(url)
        live = False
        try:
            async with self._inner.connect(created) as socket:
                live, self._failed_at = True, None
                yield socket
        except LegLost:
            if not live:
                self._failed_at = trio.current_time()
            raise
        finally:
            for url in hidden:
                self._redactor.discard(url)

    async def hang_up(self, call_id: str, control_url: str | None) -> None:
        """See Dialer."""
        await self._inner.hang_up(call_id, control_url)


class WatchedDialers:
    """All dialers of the daemon together."""

    def __init__(self, dialers: Sequence[WatchedDialer]) -> None:
        self._dialers = dialers

    @property
    def failing(self) -> bool:
        """Whether the last dial of each failed, not long ago."""
        return all(dialer.failing for dialer in self._dialers)
