"""Gives each connection its place: strangers share so many, and beside these are as many as calls can need.

| state   | whose place it has                          | when there is none for another | leaves when                |
|---------|---------------------------------------------|--------------------------------|----------------------------|
| waiting | a stranger's                                | makes room, the longest first, | the head of a request is   |
|         |                                             | after `WAITS_MIN_S`            | there, or the peer took    |
|         |                                             |                                | that part -> served        |
| served  | a stranger's                                | keeps it                       | it was answered, or a part |
|         |                                             |                                | is written -> waiting      |
|         |                                             |                                | it is a call's -> call     |
| call    | a call's, or if there is none a stranger's  | keeps it                       | it ends                    |

An honest client sends its head at once, and takes its answers. Whoever fills all places with connections that send
none, or only a part, or that do not read, has each for a moment; and what can be done with a whole head has limits of
its own.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import trio

from relay.logic.places import Places
from relay.net.server_stream import Place
from relay.refusals import Refusals, asked_by

WAITS_MIN_S = 3.0
"""A connection takes 0.8 ms of CPU from its begin to its end, a refusal a quarter of that (measured). So a flood gets
no more than `limits.connections` of the former in this time."""


class Connections:
    """One for the daemon. `strangers` and `of_calls` are numbers of places."""

    def __init__(self, refusals: Refusals, *, strangers: int, of_calls: int) -> None:
        self._refusals = refusals
        self._strangers = Places(strangers, math.inf)
        self.of_calls = Places(of_calls, math.inf)
        self.waiting: dict[ConnectionPlace, float] = {}

    def resize(self, *, strangers: int, of_calls: int) -> None:
        """So many places from now on. Who holds one keeps it, also beyond that."""
        self._strangers.resize(strangers, math.inf)
        self.of_calls.resize(of_calls, math.inf)

    @contextmanager
    def hold(
        self, client: str, of_client: AbstractContextManager[None], close: Callable[[], None]
    ) -> Iterator["ConnectionPlace"]:
        """Have a stranger's place while the context is open, and with it one of the client's share.

        `close` is called when the connection has to make room. Raises RequestRefused: BUSY, or what `of_client` raises.
        """
        with ExitStack() as of_stranger, ExitStack() as of_call:
            of_stranger.enter_context(of_client)
            self._take(client)
            of_stranger.callback(self._strangers.give_back, client)
            place = ConnectionPlace(self, client, of_stranger, of_call, close)
            place.waits()
            try:
                yield place
            finally:
                place.is_served()

    def _take(self, client: str) -> None:
        while self._strangers.take(client) != "taken":
            refused = self._refusals.limited
            longest, since = next(iter(self.waiting.items()), (None, 0.0))
            if longest is None or trio.current_time() < since + WAITS_MIN_S:
                raise refused("connections", 503, "BUSY", "too many connections: try again")
            with asked_by(longest.client):
                refused("connections", 503, "BUSY", "")
            longest.make_room()


class ConnectionPlace(Place):
    """The place of one connection; `client` is whose it is."""

    def __init__(
        self,
        connections: Connections,
        client: str,
        of_stranger: ExitStack,
        of_call: ExitStack,
        close: Callable[[], None],
    ) -> None:
        self.client = client
        self._waiting = connections.waiting
        self._of_calls = connections.of_calls
        self._of_stranger = of_stranger
        self._of_call = of_call
        self._close = close
        self._is_stranger = True

    def waits(self) -> None:
        if self._is_stranger:
            self._waiting.pop(self, None)
            self._waiting[self] = trio.current_time()

    def is_served(self) -> None:
        self._waiting.pop(self, None)

    def admit(self) -> None:
        if self._is_stranger and self._of_calls.take("") == "taken":
            self._of_call.callback(self._of_calls.give_back, "")
            self._give_back()

    def make_room(self) -> None:
        """End the connection: its place is free from now on."""
        self._give_back()
        self._close()

    def _give_back(self) -> None:
        self._is_stranger = False
        self.is_served()
        self._of_stranger.close()
