"""Gives each client its share: how much it may hold at a time, and how often it may ask.

A client is an address, or the /64 of an IPv6 address. What is too much is refused with a code, counted by the key of
the limit, and told in the log once in a while.
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from functools import partial
from typing import TypedDict

import trio

from relay.config import Config, LimitsConfig
from relay.daemon.connections import ConnectionPlace, Connections
from relay.logic.places import Places
from relay.logic.rate_limit import RateLimit
from relay.refusals import Refusals, asked_by
from relay.wire.client_address import TrustedProxies

REQUESTS_OF_A_CALL, REQUESTS_OF_A_CALL_PER_S = 2, 1.0
"""Twilio asks once for a call, and for its socket; while a call waits for a process, once a second at most."""
REQUESTS_OF_A_SESSION, REQUESTS_OF_A_SESSION_PER_S = 200, 100.0
"""One that polls asks 25 times a second for what is new, and may send each frame of 20 ms by itself."""
REQUESTS_OF_SESSIONS, REQUESTS_OF_SESSIONS_PER_S = 600, 300.0
"""All of an address together: four of that kind, or all ten of those that send 100 ms of audio at a time."""
LATE_S = 1.0
"""How long a request waits that came too early. It holds the place of its connection for that time: so who asks without
end is slowed down to its connections a second, whether it looks at the answers or not. Who hangs up waits no longer,
and has to make a new connection, of which it has only so many a second (see `Limits.pause`)."""
CONNECTIONS_OF_A_CALL = 2
"""A caller's socket, and a request or the socket that takes its place. All calls may come from one address of Twilio's,
and after a loss all at once."""
KNOWN_ADDRESSES_MAX = 1000
WEBHOOKS_BURST, WEBHOOKS_PER_S = 4000, 2000.0
"""Of an address from which webhooks of Vapi's came. Those of all calls may come from one, each over a connection of its
own."""
SLOW_BODIES_OF_A_SESSION = 4
"""A client on a slow network sends its audio and, beside it, a message. Its session's token has been seen by then."""


Pause = Callable[[float], Awaitable[None]]
"""Sleeps for so many seconds, or until it is known that nobody waits for the answer any more."""


class Share:
    """What is held at a time: so much in all, under `limit`, and by one client, under `limit` with `_per_address`.

    `what` names it for the refused.
    """

    def __init__(self, refusals: Refusals, limit: str, what: str, *, in_all: float, for_each: float) -> None:
        self._refusals = refusals
        self._limit = limit
        self._what = what
        self._places = Places(in_all, for_each)

    def resize(self, in_all: float, for_each: float) -> None:
        """Other bounds from now on. Who holds a place keeps it."""
        self._places.resize(in_all, for_each)

    @contextmanager
    def hold(self, client: str) -> Iterator[None]:
        """Have a place while the context is open. Raises RequestRefused: BUSY, TOO_MANY_AT_ONCE."""
        match self._places.take(client):
            case "all full":
                raise self._refusals.limited(self._limit, 503, "BUSY", f"too many {self._what}: try again")
            case "holder full":
                text = f"too many {self._what} from this address: end one of them"
                raise self._refusals.limited(f"{self._limit}_per_address", 429, "TOO_MANY_AT_ONCE", text)
        try:
            yield
        finally:
            self._places.give_back(client)


class SlowBodies:
    """The share of bodies that do not come at once.

    Many that began together become slow together. Each has to wait for its turn before it is judged, so that hundreds
    of refusals are not one step of the event loop, in which every call would stand still.
    """

    def __init__(self, share: Share) -> None:
        self.share = share
        self._turn = trio.Lock()

    @asynccontextmanager
    async def hold(self, client: str) -> AsyncIterator[None]:
        """As `Share.hold`."""
        async with self._turn:
            await trio.lowlevel.checkpoint()
        with self.share.hold(client):
            yield


class Rate:
    """How often a client may do something, under the keys of `limit` that end with `_burst` and `_per_s`.

    `what` names it for the refused.
    """

    def __init__(self, refusals: Refusals, limit: str, what: str = "requests", *, burst: int, per_s: float) -> None:
        self._refusals = refusals
        self._limit = limit
        self._what = what
        self._rate = RateLimit(per_s=per_s, burst=burst)

    def change(self, *, burst: int, per_s: float) -> None:
        """Other bounds from now on. What a client has used stays used."""
        self._rate.change(trio.current_time(), per_s=per_s, burst=burst)

    def count(self, client: str) -> None:
        """Count one. Raises RequestRefused: TOO_MANY_REQUESTS, and counts nothing."""
        self.check(client)
        self._rate.allow(client, trio.current_time())

    def take(self, client: str) -> bool:
        """Count one, if it may come."""
        return self._rate.allow(client, trio.current_time())

    def check(self, client: str) -> None:
        """Whether one more may come. Raises as `count`."""
        wait_s = self._rate.wait_s(client, trio.current_time())
        if wait_s > 0:
            text = f"too many {self._what} from this address: wait {wait_s:.2f} s"
            raise self._refusals.limited(self._limit, 429, "TOO_MANY_REQUESTS", text)


class KnownAddresses:
    """The addresses from which requests came with a valid signature of a provider's: the last KNOWN_ADDRESSES_MAX.

    The signature of a webhook is judged when its body is there; until then all that is known of it is its address.
    """

    def __init__(self) -> None:
        self._known: dict[str, None] = {}

    def __contains__(self, client: str) -> bool:
        return client in self._known

    def add(self, client: str) -> None:
        self._known.pop(client, None)
        self._known[client] = None
        if len(self._known) > KNOWN_ADDRESSES_MAX:
            del self._known[next(iter(self._known))]


class _RateBounds(TypedDict):
    burst: int
    per_s: float


class RequestRates:
    """How often a client may ask for anything at all, and how often a browser's session: its requests count for it, and
    for all sessions of the client together."""

    def __init__(self, refusals: Refusals, limits: LimitsConfig) -> None:
        self._of_client = Rate(refusals, "requests", **_requests(limits))
        self._of_session = Rate(refusals, "requests", burst=REQUESTS_OF_A_SESSION, per_s=REQUESTS_OF_A_SESSION_PER_S)
        self._of_sessions = Rate(refusals, "requests", burst=REQUESTS_OF_SESSIONS, per_s=REQUESTS_OF_SESSIONS_PER_S)

    def renew(self, limits: LimitsConfig) -> None:
        """Other bounds from now on."""
        self._of_client.change(**_requests(limits))

    async def count(self, client: str, session_id: str | None, pause: Pause = trio.sleep) -> None:
        """Count a request, of this session if it shows its token. One that comes too early waits in `pause` for LATE_S.

        Raises RequestRefused: TOO_MANY_REQUESTS, when others have used up what came free meanwhile.
        """
        if session_id is None:
            await _take(self._of_client, client, pause)
        else:
            await _take(self._of_session, session_id, pause)
            await _take(self._of_sessions, client, pause)


def _requests(limits: LimitsConfig) -> _RateBounds:
    return {
        "burst": limits.requests_burst + REQUESTS_OF_A_CALL * limits.calls,
        "per_s": limits.requests_per_s + REQUESTS_OF_A_CALL_PER_S * limits.calls,
    }


async def _take(rate: Rate, key: str, pause: Pause) -> None:
    if not rate.take(key):
        await pause(LATE_S)
        rate.count(key)


class Limits:
    """All of [limits] but those of calls and sessions. One for the daemon."""

    def __init__(self, config: Config, refusals: Refusals) -> None:
        keys, share = config.limits, partial(Share, refusals, in_all=math.inf, for_each=math.inf)
        rate = partial(Rate, refusals, burst=1, per_s=1)
        self._refusals = refusals
        self.twilio_addresses = KnownAddresses()
        self.vapi_addresses = KnownAddresses()
        self._connections = Connections(refusals, strangers=0, of_calls=0)
        self._of_client = share("connections", "connections")
        self._of_twilio = share("connections", "connections")
        self._new_connections = rate("new_connections", "new connections")
        self.unstarted_browsers = share("unstarted_sockets", "sockets without a first message")
        self.unstarted_streams = share("unstarted_sockets", "sockets without a start message")
        self.slow_bodies = SlowBodies(share("slow_bodies", "slow bodies"))
        self._slow_bodies_of_twilio = SlowBodies(share("slow_bodies", "slow bodies"))
        self.slow_bodies_of_sessions = SlowBodies(
            share("slow_bodies", "slow bodies", for_each=SLOW_BODIES_OF_A_SESSION)
        )
        self.listeners = share("listeners", "listeners to events of calls")
        self.requests = RequestRates(refusals, keys)
        self.webhooks = rate("requests", burst=WEBHOOKS_BURST, per_s=WEBHOOKS_PER_S)
        self._new_connections_of_vapi = rate("new_connections", burst=WEBHOOKS_BURST, per_s=WEBHOOKS_PER_S)
        self.starts, self.uploads, self.wrong_tokens = rate("client_starts"), rate("webhook"), rate("wrong_tokens")
        self.renew(config)

    def renew(self, config: Config) -> None:
        """Have these bounds from now on. What is held is kept, and what was counted stays counted."""
        keys, inf = config.limits, math.inf
        for_calls = CONNECTIONS_OF_A_CALL * keys.calls
        self._proxies = TrustedProxies(config.server.trusted_proxies)
        self._connections.resize(strangers=keys.connections, of_calls=for_calls)
        self._of_client.resize(inf, keys.connections_per_address)
        self._of_twilio.resize(inf, keys.connections_per_address + for_calls)
        self._new_connections.change(
            burst=keys.new_connections_burst + for_calls,
            per_s=keys.new_connections_per_s + REQUESTS_OF_A_CALL_PER_S * keys.calls,
        )
        self.unstarted_browsers.resize(keys.unstarted_sockets, keys.unstarted_sockets_per_address)
        self.unstarted_streams.resize(keys.unstarted_sockets, inf)
        self.slow_bodies.share.resize(keys.slow_bodies, keys.slow_bodies_per_address)
        self._slow_bodies_of_twilio.share.resize(
            keys.slow_bodies + keys.calls, keys.slow_bodies_per_address + keys.calls
        )
        self.listeners.resize(keys.listeners, inf)
        self.requests.renew(keys)
        self.starts.change(burst=keys.client_starts_burst, per_s=keys.client_starts_per_s)
        self.uploads.change(burst=keys.webhook_burst, per_s=keys.webhook_per_s)
        self.wrong_tokens.change(burst=keys.wrong_tokens_burst, per_s=keys.wrong_tokens_per_s)

    def is_proxy(self, peer: str) -> bool:
        """Whether this is the address of a trusted proxy."""
        return self._proxies.trusts(peer)

    def client_of(self, peer: str, forwarded_for: Iterable[str] = ()) -> str:
        """Whose request it is that came from `peer`, with these lines of X-Forwarded-For."""
        return self._proxies.client_of(peer, forwarded_for)

    @contextmanager
    def connection(self, peer: str, close: Callable[[], None]) -> Iterator[ConnectionPlace]:
        """A place for a connection, which `close` ends. One of a trusted proxy is nobody's yet: see `request`.

        Raises as `Share.hold`, and as `Rate.count`.
        """
        client = self.client_of(peer)
        of_client = nullcontext() if self._proxies.trusts(peer) else self._new_connection_of(client)
        with asked_by(client), self._connections.hold(client, of_client, close) as place:
            yield place

    def connection_failed(self, error: str) -> None:
        """A connection ended with errors of these kinds, which what its peer sent can cause."""
        self._refusals.warning("connection.failed", error, error=error)

    def request(self, peer: str, client: str) -> AbstractContextManager[None]:
        """A place for a request, which through a trusted proxy is the client's connection. Raises as `Share.hold`."""
        return self._share_of(client).hold(client) if self._proxies.trusts(peer) else nullcontext()

    def pause(self, peer: str, client: str, pause: Pause) -> Pause:
        """How a request that came too early waits, where its connection can `pause`. The connections of a trusted proxy
        are not counted, so there each wait that may be cut short counts as a new connection of the client's; once it
        has used up those, it waits to the end: or it could ask and hang up without end."""

        async def as_new_connection(seconds: float) -> None:
            await (pause if self._new_connections.take(client) else trio.sleep)(seconds)

        return as_new_connection if self._proxies.trusts(peer) else pause

    def slow_hooks(self, client: str) -> SlowBodies:
        """The share of the bodies of Twilio's webhooks. After a loss of the network all calls may have one at once."""
        return self._slow_bodies_of_twilio if client in self.twilio_addresses else self.slow_bodies

    @contextmanager
    def _new_connection_of(self, client: str) -> Iterator[None]:
        rate = self._new_connections_of_vapi if client in self.vapi_addresses else self._new_connections
        rate.count(client)
        with self._share_of(client).hold(client):
            yield

    def _share_of(self, client: str) -> Share:
        return self._of_twilio if client in self.twilio_addresses else self._of_client
