"""Reads HTTP/1.1 requests with h11, as a server behind proxies should, and says when one is wanted."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import h11

from relay.net.request_head import HeadProblem, framing_problem, head_problem
from relay.wakeup import Signal

Receive = Callable[[], Awaitable[Any]]

_ORIGIN = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")


class Demand:
    """Says when the application waits for more of a request."""

    def __init__(self) -> None:
        self._waiting = False
        self._over = False
        self._changed = Signal()

    def watched(self, receive: Receive) -> Receive:
        """Return `receive`, and see when the application waits in it."""

        async def watching() -> Any:
            self._waiting = True
            self._changed.fire()
            try:
                return await receive()
            finally:
                self._waiting = False

        return watching

    def end(self) -> None:
        """The application is done with the request."""
        self._over = True
        self._changed.fire()

    async def wait(self) -> bool:
        """Return when it waits; False when it never will again."""
        while not (self._waiting or self._over):
            await self._changed.wait()
        return not self._over


class PlainRequests(h11.Connection):
    """HTTP/1.1 as h11 reads it, but for what hypercorn makes of it.

    A request that names the whole address, as proxies and some tools send it (absolute form, RFC 9112, 3.2.2), is one
    for its path.

    A client that waits to be asked for the body (`Expect: 100-continue`) is asked by `invitation`, and not at once.

    A head that a proxy in front could have read otherwise is refused before h11 sees it, and the connection closed.

    HTTP/2 without TLS is not taken up, because one request of it leaves tasks behind for good: the offer to change to
    it, which some clients make every time, is passed over (RFC 9110, 7.8), and its preface (RFC 9113, 3.4) is answered
    505.

    Nor is permessage-deflate, which a browser offers always. Measured on speech in 20 ms messages of 16 kHz: PCM
    shrinks by 4 to 13 %, base64 in JSON by 25 to 32 %, which makes it as long as the PCM was; each message costs 45 us
    more, a third of all that it costs here, and each connection 300 KB of memory (RFC 7692, 7.1.2: two windows). PCM as
    binary messages gains more for nothing.
    """

    def __init__(self, max_incomplete_event_size: int) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size)
        self.demand = Demand()
        """For the last request that was not refused here."""
        self.demand.end()

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        if self.their_state is h11.IDLE:
            _refuse(head_problem(super().trailing_data[0]))
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            # h11 raises some errors from a method of the error itself, whose frame then holds it, and the connection
            raise error.with_traceback(None) from None
        if not isinstance(event, h11.Request):
            return event
        _refuse(framing_problem(event.http_version, event.headers))
        if (event.method, event.http_version) == (b"PRI", b"2.0"):
            raise h11.RemoteProtocolError("HTTP/2 is not served", error_status_hint=505)
        target = _origin_form(event.method, event.target)
        headers = [(name, value) for name, value in event.headers if not _is_offer(name, value)]
        self.demand = Demand()
        if target == event.target and len(headers) == len(event.headers):
            return event  # to make a request checks it all again
        return h11.Request(method=event.method, headers=headers, target=target, http_version=event.http_version)

    @property
    def trailing_data(self) -> tuple[bytes, bool]:
        """Nothing, or hypercorn would take what is behind an upgrade for part of what it was upgraded to."""
        return b"", False

    @property
    def behind_upgrade(self) -> bytes:
        """What came with the last request, behind it."""
        return super().trailing_data[0]

    @property
    def they_are_waiting_for_100_continue(self) -> bool:
        """False, or hypercorn would ask for every body before anybody has looked at the head."""
        return False

    @property
    def waits(self) -> bool:
        """Whether the client still waits to be asked for the body."""
        return self.client_is_waiting_for_100_continue and self.our_state is h11.SEND_RESPONSE

    def invitation(self) -> bytes:
        """What to send so that the body comes; nothing if the client does not wait for it, or was asked already."""
        if not self.waits:
            return b""
        return self.send(h11.InformationalResponse(status_code=100, headers=[])) or b""

    def send_with_data_passthrough(self, event: h11.Event) -> list[bytes] | None:
        """As h11 does, for `send`. An answer to a client that still waits is the last on this connection, because
        nobody knows whether its body will come."""
        if isinstance(event, h11.Response) and self.waits:
            headers = [*event.headers, (b"connection", b"close")]
            event = h11.Response(status_code=event.status_code, headers=headers)
        return super().send_with_data_passthrough(event)


def _refuse(problem: HeadProblem | None) -> None:
    if problem is not None:
        raise h11.RemoteProtocolError(problem.text, error_status_hint=problem.status)


def _is_offer(name: bytes, value: bytes) -> bool:
    return name == b"sec-websocket-extensions" or (name == b"upgrade" and value.lower() == b"h2c")


def _origin_form(method: bytes, target: bytes) -> bytes:
    origin = _ORIGIN.match(target)
    if origin is not None:
        path = target[origin.end() :]
        return path if path.startswith(b"/") else b"/" + path
    if target.startswith(b"/") or (method, target) == (b"OPTIONS", b"*"):
        return target
    raise h11.RemoteProtocolError("the target of the request is neither a path nor an address", error_status_hint=400)
