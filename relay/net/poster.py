"""POSTs to one address, over connections that stay open, and asks for nothing but the status of each answer.

It costs a quarter of what a general client does. Each connection has one request at a time.

| connection | meaning                | leaves when                                                     | deadline    |
|------------|------------------------|-----------------------------------------------------------------|-------------|
| busy       | a request is under way | it is answered whole -> idle; anything else, or IDLE_MAX others | `timeout_s` |
|            |                        | are idle -> closed                                              |             |
| idle       | may be used again      | a request takes it -> busy; the peer has closed it -> closed    | IDLE_S      |
"""

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import h11
import httpx
import trio

from relay import __version__
from relay.errors import LegLost
from relay.net.dial import Target, dial
from relay.net.link.prompt_stream import PromptStream

IDLE_S = 15.0
"""Servers close what is idle, often after a minute, and some after 20 s."""
IDLE_MAX = 64
ANSWER_MAX_BYTES = 64 * 1024
"""Of an answer that is longer the status counts too; but its connection is closed."""
_READ_BYTES = 16_384

Headers = list[tuple[bytes, bytes]]


class _NoAnswer(Exception):
    """The connection was closed before anything of an answer came, which is no fault where it had been idle."""


class Poster:
    """Any number of requests may be under way, of `timeout_s` at most each, while `run` runs. `url` is of `http:` or
    `https:`."""

    def __init__(self, url: str, timeout_s: float) -> None:
        parts = httpx.URL(url)
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        self._target = Target(parts.raw_host.decode("ascii"), port, parts.raw_path.decode("ascii"), secure)
        self._timeout_s = timeout_s
        self._always: Headers = [(b"Host", self._target.host_header.encode()), _user_agent()]
        if parts.userinfo:
            named = f"{parts.username}:{parts.password}".encode()
            self._always.append((b"Authorization", b"Basic " + base64.b64encode(named)))
        self._idle: list[_Connection] = []
        self._keeps = True

    async def post(self, body: bytes, headers: Mapping[str, str]) -> int:
        """Send `body`, with its Content-Type among the headers; the status, whatever it is.

        A connection that was idle and turns out to be closed costs a second one, not the request. Raises LegLost, with
        the host and never the rest of the address, when there is no answer within `timeout_s`.
        """
        more: Headers = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
        head = h11.Request(
            method="POST",
            target=self._target.resource,
            headers=[*self._always, *more, (b"Content-Length", str(len(body)).encode())],
        )
        try:
            with trio.fail_after(self._timeout_s):
                while (connection := self._take()) is not None:
                    try:
                        return await self._ask(connection, head, body)
                    except _NoAnswer:
                        continue
                stream = await dial(self._target, None)
                fresh = _Connection(stream if isinstance(stream, PromptStream) else PromptStream(stream))
                return await self._ask(fresh, head, body)
        except trio.TooSlowError:
            raise LegLost(f"{self._target.host}: no answer in time") from None
        except _NoAnswer:
            raise LegLost(f"{self._target.host}: closed without an answer") from None
        except h11.ProtocolError:
            raise LegLost(f"{self._target.host}: the answer is no HTTP") from None

    async def run(self) -> None:
        """Close connections that are idle for too long, until cancelled; then all that are idle."""
        try:
            while True:
                await trio.sleep(IDLE_S)
                await self._close_idle(trio.current_time() - IDLE_S)
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Close what is idle, and keep no connection from now on. Not cancelled."""
        self._keeps = False
        with trio.CancelScope(shield=True):
            await self._close_idle(math.inf)

    async def _close_idle(self, since: float) -> None:
        closing = [it for it in self._idle if it.idle_since <= since]
        self._idle = [it for it in self._idle if it.idle_since > since]
        for connection in closing:
            await trio.aclose_forcefully(connection.stream)

    def _take(self) -> "_Connection | None":
        """The connection that was used last, so that those which are too many get old."""
        return self._idle.pop() if self._idle else None

    async def _ask(self, connection: "_Connection", head: h11.Request, body: bytes) -> int:
        reusable = False
        try:
            status = await connection.ask(head, body)
            reusable = connection.may_go_on() and self._keeps and len(self._idle) < IDLE_MAX
            return status
        finally:
            if reusable:
                connection.idle_since = trio.current_time()
                self._idle.append(connection)
            else:
                await trio.aclose_forcefully(connection.stream)


@dataclass(slots=True, eq=False)
class _Connection:
    stream: PromptStream
    http: h11.Connection = field(default_factory=lambda: h11.Connection(h11.CLIENT))
    idle_since: float = 0.0

    async def ask(self, head: h11.Request, body: bytes) -> int:
        if self.stream.peer_has_left:
            raise _NoAnswer
        parts = (self.http.send(head), self.http.send(h11.Data(body)), self.http.send(h11.EndOfMessage()))
        answered = False
        try:
            await self.stream.send_all(b"".join(part for part in parts if part))
            while True:
                event = self.http.next_event()
                if event is h11.NEED_DATA:
                    data = await self.stream.receive_some(_READ_BYTES)
                    answered = answered or bool(data)
                    self.http.receive_data(bytes(data))
                elif isinstance(event, h11.Response):
                    await self._pass_over_body()
                    return event.status_code
        except (trio.BrokenResourceError, h11.RemoteProtocolError):
            if answered:
                raise h11.RemoteProtocolError("cut off") from None
            raise _NoAnswer from None

    async def _pass_over_body(self) -> None:
        """As far as it is there whole, or is not long: what follows is not read then, and so the connection is over."""
        n_bytes = 0
        while n_bytes <= ANSWER_MAX_BYTES:
            event = self.http.next_event()
            if event is h11.NEED_DATA:
                self.http.receive_data(bytes(await self.stream.receive_some(_READ_BYTES)))
            elif isinstance(event, h11.Data):
                n_bytes += len(event.data)
            else:
                return

    def may_go_on(self) -> bool:
        """Whether both sides are done, and neither has said that it closes the connection."""
        if self.http.our_state is not h11.DONE or self.http.their_state is not h11.DONE or self.http.trailing_data[0]:
            return False
        self.http.start_next_cycle()
        return True


def _user_agent() -> tuple[bytes, bytes]:
    return b"User-Agent", f"relay/{__version__}".encode()
