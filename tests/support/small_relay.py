"""A small relay for the simulated caller: it answers webhooks with given TwiML, and media sockets with a handler."""

import base64
import json
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

from relay.standin.http import Request, Response, Rewound, serve_connection
from relay.standin.phone import PhoneOptions
from relay.standin.sound import samples_to_mulaw, tone

TOKEN = "auth"
PUBLIC = "https://relay.example.com"
BEEP = samples_to_mulaw(tone(440, 0.2, 8000))
STREAM = '<Connect><Stream url="wss://relay.example.com/m"><Parameter name="token" value="t"/></Stream></Connect>'
OPTIONS = PhoneOptions(auth_token=TOKEN, public_url=PUBLIC)
Handler = Callable[["MediaLeg"], Awaitable[None]]


@dataclass
class MediaLeg:
    """One media socket, seen from the relay."""

    socket: WebSocketConnection
    headers: dict[str, str]
    sid: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)

    async def receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self.socket.get_message())
        self.messages.append(message)
        return message

    async def wait(self, event: str) -> dict[str, Any]:
        while (message := await self.receive())["event"] != event:
            pass
        return message

    async def started(self) -> None:
        self.sid = (await self.wait("start"))["streamSid"]

    async def media(self, data: bytes) -> None:
        await self.send("media", media={"payload": base64.b64encode(data).decode()})

    async def send(self, event: str, **body: Any) -> None:
        await self.socket.send_message(json.dumps({"event": event, "streamSid": self.sid, **body}))


@dataclass
class SmallRelay:
    """Answers each webhook path with its documents, one after the other, and each socket with `handler`."""

    documents: Mapping[str, list[str]]
    handler: Handler | None
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    legs: list[MediaLeg] = field(default_factory=list)
    connections: int = 0

    def forms(self, path: str) -> list[dict[str, str]]:
        return [dict(parse_qsl(r.body.decode(), keep_blank_values=True)) for r in self.requests if r.target == path]

    async def serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        await serve_connection(stream, self.answer, self.upgrade)

    async def answer(self, request: Request) -> Response:
        self.requests.append(request)
        waiting = self.documents.get(request.target)
        if waiting is None:
            return Response(404)
        document = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        return Response(200, f"<Response>{document}</Response>".encode(), "text/xml")

    async def upgrade(self, target: str, head: Rewound, stream: trio.SocketStream) -> None:
        raw = bytes(await head.receive_some())
        async with trio.open_nursery() as nursery:
            request = await wrap_server_stream(nursery, Rewound(raw, stream))
            if self.handler is None:
                await request.reject(403)
            else:
                headers = {name.decode().lower(): value.decode() for name, value in request.headers}
                headers["host"] = host_of(raw)  # trio-websocket keeps it to itself
                leg = MediaLeg(await request.accept(), headers)
                self.legs.append(leg)
                with suppress(ConnectionClosed):
                    await self.handler(leg)
                with trio.move_on_after(1):
                    await leg.socket.aclose()
            nursery.cancel_scope.cancel()


def host_of(head: bytes) -> str:
    found = re.search(rb"^host: *(\S+)", head, re.IGNORECASE | re.MULTILINE)
    assert found is not None
    return found[1].decode()


@asynccontextmanager
async def small_relay(
    handler: Handler | None, *, voice: str = STREAM, **documents: list[str]
) -> AsyncGenerator[SmallRelay, None]:
    """A relay that answers the first webhook with `voice` and PATH=[...] with these; without a handler it refuses
    media sockets."""
    paths = {"/twilio/voice": [voice], **{f"/{name}": texts for name, texts in documents.items()}}
    small = SmallRelay(paths, handler)
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        small.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.start_soon(trio.serve_listeners, small.serve, [listener])
        yield small
        nursery.cancel_scope.cancel()


async def listen(leg: MediaLeg) -> None:
    """A handler that says nothing."""
    await leg.started()
    while True:
        await leg.receive()
