"""Serves one connection with hypercorn: HTTP/1.1 and WebSockets, and nothing else that hypercorn would take up unasked.

It has no switch for any of this. So it is given a part of its own in another form, the reader of requests (h11), and
the stream is taken from it when it is that of a WebSocket.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, RawData, Updated
from hypercorn.events import Event as HypercornEvent
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.ws_stream import WSStream
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState

from relay.net.plain_requests import PlainRequests
from relay.net.request_reader import RequestReader
from relay.net.server_stream import ServerStream
from relay.net.turns import Turns

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class Http1Connection(TCPServer):
    """One connection: HTTP/1.1 and nothing else, gone as soon as the peer is.

    hypercorn would keep the timer of an idle connection running after the peer closed it. And it says nowhere when its
    reader is done, however it ended, after which the application is given nothing more.
    """

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        state: ConnectionState,
        stream: ServerStream,
        *,
        turns: Turns,
    ) -> None:
        # hypercorn annotates only the TLS kind of stream and takes any
        super().__init__(self._run_app, config, context, state, stream)  # type: ignore[arg-type]
        self._application = app
        self._server_stream = stream
        self._place = stream.place
        self._all_handed_on = False
        self._requests = PlainRequests(config.h11_max_incomplete_size)
        self._reader = RequestReader(stream, turns, stream.place.client)
        self._upgrade_answered = trio.Event()
        self._holding = False
        self._held = b""
        """The head of an answer."""

    async def _read_data(self) -> None:
        self._http.connection = self._requests
        try:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._hand_on()
            await self.protocol.handle(Closed())
        finally:
            self._all_handed_on = True
        await self.idle_task.stop()

    def forget(self) -> None:
        """Let go of everything once the connection is over. hypercorn's parts hold it and it holds them, so that only
        the garbage collector would free them, with all that came in."""
        vars(self).clear()

    async def protocol_send(self, event: HypercornEvent) -> None:
        """As hypercorn does; but an answer that ends after the reader does not start the timer again, and the head of
        an answer goes with the first of its body (ASGI, "Response Start")."""
        if isinstance(event, RawData):
            data, self._held = self._held + event.data, b""
            if self._holding:
                self._held = data
            elif data:
                await super().protocol_send(RawData(data))
            return
        if isinstance(event, Updated):
            if event.idle:
                self._place.waits()
            else:
                self._place.is_served()
        if not (isinstance(event, Updated) and self._all_handed_on):
            await super().protocol_send(event)

    async def _hand_on(self) -> None:
        """Give hypercorn what comes, to its end.

        Of a peer to which nothing can be sent any more nothing is read, not even requests that came long before.

        Of a body, it is given what the application waits for: what nobody takes would fill memory, and then hypercorn's
        queue, in which it waits for good. What is left of a body behind the answer is not read; hypercorn closes such a
        connection.

        What comes behind the request for a WebSocket waits until the application has answered: hypercorn would answer
        it too, with 400 (RFC 6455, 4.1, forbids the client to send anything before that). Of a peer that is refused
        nothing more is read.
        """
        data = None
        while data != b"" and not self._server_stream.broken:
            in_body = self._requests.their_state is h11.SEND_BODY
            if in_body and not await self._requests.demand.wait():
                return
            data = await self._reader.receive(in_body=in_body)
            await self.protocol.handle(RawData(data))
            if isinstance(stream := self._http.stream, WSStream):
                if stream.closed:  # hypercorn has refused a handshake that is none
                    return
                await self._upgrade_answered.wait()
                if (link := self._server_stream.link) is not None:
                    await link.run()
                return

    async def _run_app(self, scope: Any, receive: Receive, send: Send, sync_spawn: Any, call_soon: Any) -> None:
        """Run the application for one request. Its first `receive` asks a client that waits for that to send the body
        (RFC 9110, 10.1.1)."""
        stream = self._http.stream
        if not isinstance(stream, WSStream):
            demand = self._requests.demand
            wanted = demand.watched(receive)
            if self._requests.waits:
                wanted = self._inviting(wanted)
            try:
                await self._application(scope, wanted, self._closing_early(send), sync_spawn, call_soon)
            finally:
                demand.end()
            return
        try:
            await self._application(scope, receive, self._answering(send, stream), sync_spawn, call_soon)
        finally:
            self._upgrade_answered.set()

    def _closing_early(self, send: Send) -> Send:
        """An answer that does not wait for the end of the body says that it is the last (RFC 9112, 9.6)."""

        async def send_and_tell(event: Any) -> None:
            self._holding = event["type"] == "http.response.start"
            if self._holding and self._requests.their_state is h11.SEND_BODY:
                event = {**event, "headers": [*event.get("headers", ()), (b"connection", b"close")]}
            try:
                await send(event)
            finally:
                self._holding = False

        return send_and_tell

    def _answering(self, send: Send, stream: WSStream) -> Send:
        async def send_and_note(event: Any) -> None:
            await send(event)
            if event["type"] == "websocket.accept" and stream.handshake.accepted:
                self._server_stream.open_link(self._requests.behind_upgrade + self._reader.take_rest())
            if event["type"] != "websocket.http.response.start":
                self._upgrade_answered.set()

        return send_and_note

    def _inviting(self, receive: Receive) -> Receive:
        async def invite_and_receive() -> Any:
            if not self._reader.has_rest and (invitation := self._requests.invitation()):
                await self.protocol_send(RawData(invitation))
            return await receive()

        return invite_and_receive

    @property
    def _http(self) -> H11Protocol:
        http = self.protocol.protocol
        assert isinstance(http, H11Protocol)
        return http
