"""The operator's endpoint, which takes what the relay passes on."""

import hashlib
import hmac
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

from relay.standin.http import Request, Response, serve_connection

EVENTS_SECRET = "events-secret-of-the-test"
Answer = Callable[[dict[str, Any]], Response]


def taken(_body: dict[str, Any]) -> Response:
    return Response(200, b"{}")


@dataclass
class Receiver:
    """`answer` may be replaced. `bodies` are those of requests whose signature was good, in their order."""

    url: str = ""
    answer: Answer = taken
    bodies: list[dict[str, Any]] = field(default_factory=list)
    deliveries: Counter[str] = field(default_factory=Counter)
    headers: list[dict[str, str]] = field(default_factory=list)
    _changed: trio.Event = field(default_factory=trio.Event)

    async def wait(self, number: int, timeout_s: float = 20.0) -> list[dict[str, Any]]:
        """The first so many bodies, once they are there."""
        with trio.fail_after(timeout_s):
            while len(self.bodies) < number:
                await self._changed.wait()
        return self.bodies[:number]

    async def serve(self, stream: trio.SocketStream) -> None:
        async def refuse(*_: Any) -> None:
            raise AssertionError("nothing here is a WebSocket")

        await serve_connection(stream, self._take, refuse)

    async def _take(self, request: Request) -> Response:
        head = {name.lower(): value for name, value in request.headers.items()}
        signed = head["x-relay-timestamp"].encode() + b"." + request.body
        digest = hmac.new(EVENTS_SECRET.encode(), signed, hashlib.sha256).hexdigest()
        assert head["x-relay-signature"] == f"sha256={digest}"
        body = json.loads(request.body)
        self.headers.append(head)
        self.bodies.append(body)
        self.deliveries[head["x-relay-delivery"]] += 1
        self._changed.set()
        self._changed = trio.Event()
        return self.answer(body)


@asynccontextmanager
async def open_receiver(answer: Answer = taken) -> AsyncIterator[Receiver]:
    receiver = Receiver(answer=answer)
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        receiver.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/vapi"
        nursery.start_soon(trio.serve_listeners, receiver.serve, [listener])
        yield receiver
        nursery.cancel_scope.cancel()
