"""The server of the built-in assistant has Vapi's REST interface and the WebSocket transport on one port."""

import json
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import uuid4

import httpx
import trio
import trio_websocket

from relay.standin.assistant.behaviour import Behaviour
from relay.standin.assistant.call import AssistantCall
from relay.standin.assistant.hooks import Hooks
from relay.standin.assistant.inbound import Unacceptable, parse
from relay.standin.assistant.order import BadOrder, read_order
from relay.standin.assistant.record import SocketRecord
from relay.standin.assistant.transport import run_transport
from relay.standin.http import Request, Response, Rewound, serve_connection

_KEEP_CALLS = 1000
_MESSAGE_LIMIT_BYTES = 1 << 20
_UPLINK_QUEUE = 64
_HANDSHAKE_S = 5.0


@dataclass(slots=True)
class Assistant:
    """A running assistant. `behaviour` may be replaced: a call keeps the one it was created with.

    `calls` holds the newest 1000 calls, and older ones that go on, oldest first. `counts` holds the webhook deliveries
    (delivered, failed, dropped) and the refusals (`unauthorized`, `forbidden`, `bad_request`, `refused_sockets`).
    """

    base_url: str
    key: str = field(repr=False)
    behaviour: Behaviour
    record_s: float
    record_dir: Path | None
    nursery: trio.Nursery = field(repr=False)
    client: httpx.AsyncClient = field(repr=False)
    calls: dict[str, AssistantCall] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    _connected: list[AssistantCall] = field(default_factory=list, repr=False)
    _news: trio.Event = field(default_factory=trio.Event, repr=False)

    @property
    def active_calls(self) -> int:
        """How many calls have not ended."""
        now_s = trio.current_time()
        for call in self.calls.values():
            call.settle(now_s)
        return sum(call.status != "ended" for call in self.calls.values())

    async def wait_call(self, number: int = 1) -> AssistantCall:
        """The call whose socket was connected as the `number`th, once it is."""
        while len(self._connected) < number:
            await self._news.wait()
        return self._connected[number - 1]

    async def answer(self, request: Request) -> Response:
        """A request to the REST interface or to a control URL, answered as Vapi does."""
        # Vapi's front refuses the default User-Agent of Python's own library with this text.
        agent = request.headers.get("user-agent", "")
        path = request.target.partition("?")[0].strip("/").split("/")
        if not agent or agent.startswith("Python-urllib"):
            self.counts["forbidden"] += 1
            return Response(403, b"error code: 1010", "text/plain")
        if len(path) == 2 and path[1] == "control" and request.method == "POST":
            return self._control(path[0], request.body)
        if request.headers.get("authorization") != f"Bearer {self.key}":
            self.counts["unauthorized"] += 1
            return _error(401, "Invalid Key. Hot tip, you may be using the public key instead of the private key.")
        if path == ["call"] and request.method == "POST":
            return await self._create(request)
        if len(path) == 2 and path[0] == "call" and request.method in ("GET", "DELETE"):
            return self._look_up(path[1], request.method)
        return _error(404, f"Cannot {request.method} {request.target}")

    async def _create(self, request: Request) -> Response:
        behaviour = self.behaviour
        if behaviour.create_status is not None:
            return _error(behaviour.create_status, "as configured")
        try:
            order = read_order(json.loads(request.body))
        except (BadOrder, ValueError, RecursionError) as error:
            self.counts["bad_request"] += 1
            return _error(400, str(error) or "not JSON")
        active = self.active_calls
        blocked = active >= behaviour.concurrency_limit
        call_id = str(uuid4())
        server = order.overrides.get("server")
        hooks = None if server is None else Hooks(server, call_id, self.counts)
        record = SocketRecord(order.format, self.record_s)
        call = AssistantCall(call_id, order, behaviour, record, hooks, trio.current_time())
        self._keep(call)
        if hooks is not None:
            self.nursery.start_soon(hooks.deliver, self.client)
        if blocked:
            call.finish("call.start.error-subscription-concurrency-limit-reached")
        answer = call.as_json()
        host = request.headers.get("host") or self.base_url.removeprefix("http://")
        answer["transport"]["websocketCallUrl"] = f"ws://{host}/{call.id}/transport"  # by the way the request came
        if behaviour.monitor_in_reply:
            answer["monitor"] = self._monitor(call)
        answer["subscriptionLimits"] = {
            "concurrencyBlocked": blocked,
            "concurrencyLimit": behaviour.concurrency_limit,
            "remainingConcurrentCalls": max(0, behaviour.concurrency_limit - active - (not blocked)),
        }
        return Response.of(201, answer)

    def _keep(self, call: AssistantCall) -> None:
        self.calls[call.id] = call
        for old in list(self.calls.values())[:-_KEEP_CALLS]:
            if old.status == "ended":
                del self.calls[old.id]

    def _monitor(self, call: AssistantCall) -> dict[str, str]:
        return {"controlUrl": f"{self.base_url}/{call.id}/control"}

    def _look_up(self, call_id: str, method: str) -> Response:
        call = self.calls.get(call_id)
        if call is None:
            return _error(404, "Couldn't find the call.")
        call.settle(trio.current_time())
        if method == "DELETE":
            call.end("manually-canceled")
        return Response.of(200, {**call.as_json(), "monitor": self._monitor(call)})

    def _control(self, call_id: str, body: bytes) -> Response:
        call = self.calls.get(call_id)
        if call is None or call.conversation is None or call.status == "ended":
            return _error(404, "No such call, or it is not active.")
        try:
            message = parse(body)
        except Unacceptable as error:
            return _error(400, str(error))
        call.record.note(trio.current_time(), outgoing=False, message=message)
        call.conversation.obey(message, trio.current_time())
        call.wake()
        return Response.of(200, {"success": True})

    async def upgrade(self, target: str, head: Rewound, stream: trio.SocketStream) -> None:
        """A WebSocket handshake. The address is good for one of them, whether it succeeds or not."""
        path = target.strip("/").split("/")
        call = self.calls.get(path[0]) if len(path) == 2 and path[1] == "transport" else None
        admitted = call is not None and self._admit(call)
        try:
            async with trio.open_nursery() as nursery:
                socket = await _handshake(nursery, head, accept=admitted)
                if call is not None and socket is not None:
                    self._connected.append(call)
                    self._news.set()
                    self._news = trio.Event()
                    await run_transport(call, socket, stream)
                nursery.cancel_scope.cancel()
        finally:
            self.counts["refused_sockets"] += not admitted
            if call is not None and admitted:
                call.disconnected()
                if self.record_dir is not None:
                    call.record.write_wav(self.record_dir / f"{call.id}.wav", call.created_s)

    def _admit(self, call: AssistantCall) -> bool:
        call.settle(trio.current_time())
        if call.status != "queued":
            return False
        if call.behaviour.refuse_handshake:
            call.disconnected()
            return False
        call.connect(trio.current_time())
        return True


async def _handshake(
    nursery: trio.Nursery, head: Rewound, *, accept: bool
) -> trio_websocket.WebSocketConnection | None:
    with trio.move_on_after(_HANDSHAKE_S):
        request = await trio_websocket.wrap_server_stream(nursery, head, _UPLINK_QUEUE, _MESSAGE_LIMIT_BYTES)
        if accept:
            return await request.accept()
        await request.reject(404)
    return None


def _error(status: int, text: str) -> Response:
    return Response.of(status, {"message": text, "error": "stand-in", "statusCode": status})


@asynccontextmanager
async def open_assistant(
    *,
    key: str,
    host: str = "127.0.0.1",
    port: int = 0,
    behaviour: Behaviour | None = None,
    record_s: float = 600.0,
    record_dir: Path | None = None,
) -> AsyncGenerator[Assistant, None]:
    """Run an assistant; it is ready when entered, and everything of it is gone on exit.

    `record_s`: how much audio is kept of each direction of each call (0: none). `record_dir`: an existing folder in
    which each call leaves `<call id>.wav`. `OSError` when the port is taken.
    """
    listeners = await trio.open_tcp_listeners(port, host=host)
    base_url = f"http://{host}:{listeners[0].socket.getsockname()[1]}"
    async with httpx.AsyncClient(trust_env=False) as client, trio.open_nursery() as nursery:
        assistant = Assistant(base_url, key, behaviour or Behaviour(), record_s, record_dir, nursery, client)
        serve = partial(serve_connection, on_http=assistant.answer, on_upgrade=assistant.upgrade)
        await nursery.start(partial(trio.serve_listeners, serve, listeners))
        yield assistant
        nursery.cancel_scope.cancel()
