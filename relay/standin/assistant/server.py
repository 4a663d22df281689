"""The server of the built-in assistant has Vapi's REST interface and the WebSocket transport on one port."""

import json
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import httpx
import trio
import trio_websocket

from relay.net.transport import default_tls
from relay.standin.assistant.behaviour import Behaviour
from relay.standin.assistant.call import AssistantCall
from relay.standin.assistant.credentials import Credential
from relay.standin.assistant.hooks import Hooks
from relay.standin.assistant.inbound import Unacceptable, parse
from relay.standin.assistant.lockout import Lockout
from relay.standin.assistant.order import BadOrder, read_name, read_order
from relay.standin.assistant.record import SocketRecord
from relay.standin.assistant.registry import BadQuery, Registry
from relay.standin.assistant.transport import run_transport
from relay.standin.http import Request, Response, Rewound, serve_connection

_MESSAGE_LIMIT_BYTES = 1 << 20
_UPLINK_QUEUE = 64
_HANDSHAKE_S = 5.0


@dataclass(slots=True)
class Assistant:
    """A running assistant. `behaviour` may be replaced: a call keeps the one it was created with.

    `counts` holds the webhook deliveries (delivered, failed, retried, dropped) and the refusals (`unauthorized`,
    `forbidden`, `bad_request`, `locked_out`, `refused_sockets`).
    """

    base_url: str
    key: str = field(repr=False)
    behaviour: Behaviour
    record_s: float
    record_dir: Path | None
    nursery: trio.Nursery = field(repr=False)
    client: httpx.AsyncClient = field(repr=False)
    credentials: Mapping[str, Credential] = field(default_factory=dict, repr=False)
    registry: Registry = field(default_factory=Registry)
    counts: Counter[str] = field(default_factory=Counter)
    _lockout: Lockout = field(default_factory=Lockout, repr=False)
    _creates: int = 0
    _connected: list[AssistantCall] = field(default_factory=list, repr=False)
    _news: trio.Event = field(default_factory=trio.Event, repr=False)

    @property
    def calls(self) -> dict[str, AssistantCall]:
        """The newest 1000 calls, and older ones that go on, oldest first, by their ids."""
        return self.registry.calls

    @property
    def active_calls(self) -> int:
        """How many calls hold a place: they have not ended, and do not wait for one."""
        return self.registry.active(trio.current_time())

    async def wait_call(self, number: int = 1) -> AssistantCall:
        """The call whose socket was connected as the `number`th, once it is."""
        while len(self._connected) < number:
            await self._news.wait()
        return self._connected[number - 1]

    async def answer(self, request: Request) -> Response:
        """A request to the REST interface or to a control URL, answered as Vapi does."""
        # Vapi's front refuses the default User-Agent of Python's own library with this text.
        agent = request.headers.get("user-agent", "")
        path = urlsplit(request.target).path.strip("/").split("/")
        if not agent or agent.startswith("Python-urllib"):
            self.counts["forbidden"] += 1
            return Response(403, b"error code: 1010", "text/plain")
        if len(path) == 2 and path[1] == "control" and request.method == "POST":
            return self._control(path[0], request.body)
        if request.headers.get("authorization") != f"Bearer {self.key}":
            self.counts["unauthorized"] += 1
            return _error(401, "Invalid Key. Hot tip, you may be using the public key instead of the private key.")
        try:
            match request.method, path:
                case "POST", ["call"]:
                    return await self._create(request)
                case "GET", ["call"]:
                    return self._list(request)
                case "GET" | "PATCH" | "DELETE", ["call", call_id]:
                    return self._look_up(call_id, request)
                case "GET", ["assistant", assistant_id]:
                    return Response.of(200, {"id": assistant_id, "model": _model(self.behaviour.tools)})
                case "GET", ["tool", tool_id] if found := [
                    it for it in self.behaviour.tools if it.get("id") == tool_id
                ]:
                    return Response.of(200, dict(found[0]))
        except (BadOrder, BadQuery) as error:
            self.counts["bad_request"] += 1
            return _error(400, str(error))
        return _error(404, f"Cannot {request.method} {request.target}")

    async def _create(self, request: Request) -> Response:
        behaviour = self.behaviour
        if not self._lockout.admits(trio.current_time(), behaviour.create_burst):
            self.counts["locked_out"] += 1
            return _error(429, "Too Many Requests")
        if behaviour.create_status is not None:
            return _error(behaviour.create_status, "as configured")
        self._creates += 1
        delay_s = behaviour.slow_create_s if self._creates <= behaviour.slow_creates else 0.0
        if not behaviour.slow_create_makes_call:
            await trio.sleep(delay_s)
        answer = self._new_call(request, behaviour)
        if behaviour.slow_create_makes_call:
            await trio.sleep(delay_s)
        return Response.of(201, answer)

    def _new_call(self, request: Request, behaviour: Behaviour) -> dict[str, Any]:
        order = read_order(_json(request.body), behaviour.properties)
        if behaviour.granted_format is not None:
            order = replace(order, format=behaviour.granted_format)
        self.registry.unblock(trio.current_time())
        active = self.active_calls
        blocked = active >= behaviour.concurrency_limit
        call_id = str(uuid4())
        server = order.overrides.get("server")
        hooks = None if server is None else Hooks(server, call_id, self.counts, self._credential_of(server))
        record = SocketRecord(order.format, self.record_s)
        # The addresses in the answer lead back by the way the request came.
        host = request.headers.get("host") or self.base_url.removeprefix("http://")
        call = AssistantCall(call_id, order, behaviour, record, hooks, trio.current_time(), host=host, blocked=blocked)
        self.registry.keep(call)
        if hooks is not None:
            self.nursery.start_soon(hooks.deliver, self.client)
        if blocked and not behaviour.blocked_waits:
            call.finish("call.start.error-subscription-concurrency-limit-reached")
        return call.as_json(monitor=behaviour.monitor_in_reply) | {
            "subscriptionLimits": {
                "concurrencyBlocked": blocked,
                "concurrencyLimit": behaviour.concurrency_limit,
                "remainingConcurrentCalls": max(0, behaviour.concurrency_limit - active - (not blocked)),
            }
        }

    def _credential_of(self, server: Mapping[str, Any]) -> Credential | None:
        if "credentialId" not in server:
            return None
        if server["credentialId"] not in self.credentials:
            raise BadOrder("assistantOverrides.server.credentialId: no such credential")
        return self.credentials[server["credentialId"]]

    def _list(self, request: Request) -> Response:
        self.registry.unblock(trio.current_time())
        query = dict(parse_qsl(urlsplit(request.target).query))
        return Response.of(200, [call.as_json() for call in self.registry.select(query)])

    def _look_up(self, call_id: str, request: Request) -> Response:
        self.registry.unblock(trio.current_time())
        call = self.registry.find(call_id)
        if call is None:
            return _error(404, "Couldn't find the call.")
        if request.method == "PATCH":
            call.rename(read_name(_json(request.body)))
        elif request.method == "DELETE":
            _delete(call)
        return Response.of(200, call.as_json())

    def _control(self, call_id: str, body: bytes) -> Response:
        try:
            message = parse(body)
        except Unacceptable as error:
            return _error(400, str(error))
        call = self.calls.get(call_id)
        if call is None or not call.obey(message, trio.current_time()):
            return _error(404, "No such call, or it is not active.")
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
                if call.lost_s is not None:
                    self.nursery.start_soon(_time_out, call)
                if self.record_dir is not None and not call.erased:
                    call.record.write_wav(self.record_dir / f"{call.id}.wav", call.created_s)

    def _admit(self, call: AssistantCall) -> bool:
        self.registry.unblock(trio.current_time())
        if not call.takes_socket(trio.current_time()):
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


def _delete(call: AssistantCall) -> None:
    """Erase the record. Whether a live call ends, nobody documents: by default it goes on."""
    does = call.behaviour.unsettled.on_delete
    call.erased = does in ("erase", "erase and end")
    if does in ("end", "erase and end"):
        call.end("call-deleted")


async def _time_out(call: AssistantCall) -> None:
    """End a call that goes on without its socket when its time is over, unless somebody ends it before."""
    await trio.sleep_until(call.times_out_s)
    call.settle(trio.current_time())


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise BadOrder("not JSON") from None


def _model(tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    apart = [tool["id"] for tool in tools if "id" in tool]
    return {"tools": [tool for tool in tools if "id" not in tool], "toolIds": apart}


def _error(status: int, text: str) -> Response:
    return Response.of(status, {"message": text, "error": HTTPStatus(status).phrase, "statusCode": status})


@asynccontextmanager
async def open_assistant(
    *,
    key: str,
    host: str = "127.0.0.1",
    port: int = 0,
    behaviour: Behaviour | None = None,
    record_s: float = 600.0,
    record_dir: Path | None = None,
    credentials: Mapping[str, Credential] | None = None,
) -> AsyncGenerator[Assistant, None]:
    """Run an assistant; it is ready when entered, and everything of it is gone on exit.

    `record_s`: how much audio is kept of each direction of each call (0: none). `record_dir`: an existing folder in
    which each call leaves `<call id>.wav`. `credentials`: by the ids under which orders name them
    (`server.credentialId`). `OSError` when the port is taken.
    """
    listeners = await trio.open_tcp_listeners(port, host=host)
    base_url = f"http://{host}:{listeners[0].socket.getsockname()[1]}"
    async with httpx.AsyncClient(verify=default_tls(), trust_env=False) as client, trio.open_nursery() as nursery:
        assistant = Assistant(
            base_url, key, behaviour or Behaviour(), record_s, record_dir, nursery, client, credentials or {}
        )
        serve = partial(serve_connection, on_http=assistant.answer, on_upgrade=assistant.upgrade)
        await nursery.start(partial(trio.serve_listeners, serve, listeners))
        yield assistant
        nursery.cancel_scope.cancel()
