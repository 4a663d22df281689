"""The calls of other processes, as the state store tells: those they have, and those they have left."""

from dataclasses import replace

import msgspec
import trio

from relay.call.services import Services
from relay.errors import StateUnavailable
from relay.logic.tokens import fingerprint
from relay.state import CallRecord

TAKE_WAIT_S = 3.0
"""Longer than a process that was killed seems to live."""
RING_WAIT_S = 0.25
"""A phone that rings does not wait longer for a store that does not answer."""


class Takeover:
    """Without a store, and while it is down, there are no such calls."""

    def __init__(self, services: Services) -> None:
        self._store = services.store
        self._wall = services.wall

    async def take(self, sid: str, *, by_force: bool) -> CallRecord | None:
        """What another process has left of the call, or, `by_force`, has; it is this process's from now on.

        Waits at most `TAKE_WAIT_S` until the other is known to be dead.
        """
        if self._store is None:
            return None
        try:
            return _alive(await self._store.take(sid, wait_s=TAKE_WAIT_S, by_force=by_force))
        except StateUnavailable:
            return None

    async def take_ringing(self, sid: str) -> CallRecord | None:
        """As `take` by force, within `RING_WAIT_S`."""
        if self._store is None or self._store.failing:
            return None
        with trio.move_on_after(RING_WAIT_S):
            return await self.take(sid, by_force=True)
        return None

    async def claim(self, token: str, sid: str) -> CallRecord | None:
        """The call that a token of another process opens, whether that lives or not; it is this process's from now on,
        and the token is used up."""
        if self._store is None:
            return None
        try:
            return _alive(await self._store.claim(sid, fingerprint(token), self._wall()))
        except StateUnavailable:
            return None

    async def has(self, sid: str) -> bool:
        """Whether the call is not over."""
        if self._store is None:
            return False
        try:
            return _alive(await self._store.load(sid)) is not None
        except StateUnavailable:
            return False


def with_policy(services: Services, past: CallRecord) -> Services:
    """What the call shares with others, but for the rules that it began with."""
    config, rules = services.config, past.policy
    reconnect = msgspec.structs.replace(
        config.reconnect,
        reattach_attempts=rules.max_attempts,
        reattach_window_s=rules.window_s,
        reattach_grace_s=rules.grace_s,
    )
    return replace(services, config=replace(config, reconnect=reconnect))


def _alive(record: CallRecord | None) -> CallRecord | None:
    return record if record is not None and record.end_reason is None else None
