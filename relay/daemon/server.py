"""The ASGI application that the server runs: it puts the endpoints together, and brings each request to its own.

It says first whose request that is: the `client` of the scope that endpoints see is the one that limits count for. The
process in an address is for the load balancer (`relay/wire/owner.py`): it is in `raw_path` only.

WebSockets and what streams a body go their own way, everything else goes to Quart: it would put a task and two queues
between each WebSocket message and its reader, and read a body whole.
"""

from contextlib import ExitStack
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import trio

from relay.daemon.answers import error_answer, refuse
from relay.daemon.call_events import CallEvents
from relay.daemon.call_report import CallReport
from relay.daemon.client_gate import CLIENT, ClientGate
from relay.daemon.client_polling import ClientPolling
from relay.daemon.client_socket import ClientSocketEndpoint
from relay.daemon.endpoint_context import EndpointContext
from relay.daemon.finished_calls import FinishedCalls
from relay.daemon.limits import Pause
from relay.daemon.pages import Pages
from relay.daemon.quart_app import create_app
from relay.daemon.report_process import Reports
from relay.daemon.routes import Routes, answer_error
from relay.daemon.twilio_hooks import MEDIA
from relay.daemon.twilio_media import MediaEndpoint
from relay.daemon.twilio_rejections import TwilioRejections
from relay.daemon.vapi_webhooks import VapiWebhooks
from relay.daemon.webhook_audio import WebhookAudio
from relay.errors import RequestRefused
from relay.net.asgi_request import AsgiRequest
from relay.net.asgi_socket import STREAM_STATE, AsgiSocket, Receive, Scope, Send
from relay.record.page import page_parts
from relay.refusals import asked_by
from relay.wire.owner import split_path
from relay.wire.webhook_auth import EVENTS_PATH

FOR_OPERATORS = ("/health", "/metrics", "/admin", "/calls", "/events")
"""With all below them, these are not there on the public address where operators have one of their own."""
FORWARDED_FOR = b"x-forwarded-for"


class Server:
    """The application (ASGI 3.0: lifespan, http, websocket). It makes every endpoint and finds the one of a request."""

    def __init__(self, context: EndpointContext) -> None:
        self._quart = create_app(context)
        self._limits = context.limits
        self._rejections = TwilioRejections(context.metrics, context.refusals)
        gate = ClientGate(context)
        self._sockets = {MEDIA: MediaEndpoint(context).serve, CLIENT: ClientSocketEndpoint(context, gate).serve}
        self._routes = Routes(context.limits.slow_bodies)
        self._polling = ClientPolling(context, gate)
        reports = Reports(context)
        parts = (
            self._polling,
            WebhookAudio(context),
            CallEvents(context),
            FinishedCalls(context, reports),
            CallReport(context, reports),
            Pages(context.gate, page_parts().sources),
        )
        for part in parts:
            part.add_to(self._routes)
        if context.webhooks is not None and context.config.webhooks is not None:
            VapiWebhooks(context, context.webhooks, context.config.webhooks).add_to(self._routes)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._answer(scope, receive, send, self._serve)

    async def public(self, scope: Any, receive: Any, send: Any) -> None:
        """The application of an address that is not for operators."""
        await self._answer(scope, receive, send, self._serve_public)

    async def _answer(self, scope: Any, receive: Any, send: Any, serve: Any) -> None:
        if scope["type"] == "lifespan":
            await self._quart(scope, receive, send)
            return
        peer: str = scope["state"][STREAM_STATE].peer
        named = [value.decode("latin-1") for name, value in scope["headers"] if name == FORWARDED_FOR]
        client = self._limits.client_of(peer, named)
        scope = {**scope, "client": (client, 0), "path": split_path(scope["path"])[0]}
        with asked_by(client), ExitStack() as place:
            send = self._rejections.watched(scope, send)
            if scope["type"] == "websocket":
                scope["state"][STREAM_STATE].when_admitted(place.close)
            try:
                place.enter_context(self._limits.request(peer, client))
                await self._count(scope, client, self._limits.pause(peer, client, scope["state"][STREAM_STATE].pause))
            except RequestRefused as refused:
                await self._refuse(scope, receive, send, refused)
            else:
                await serve(scope, receive, send)

    async def _serve_public(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _first_part(scope["path"]) in FOR_OPERATORS:
            error = RequestRefused(404, "NOT_FOUND", "there is nothing at this address")
            await self._refuse(scope, receive, send, error)
        else:
            await self._serve(scope, receive, send)

    async def _count(self, scope: Any, client: str, pause: Pause) -> None:
        if scope["path"] == EVENTS_PATH and client in self._limits.vapi_addresses:
            self._limits.webhooks.count(client)
        else:
            await self._limits.requests.count(client, self._polling.session_of(scope), pause)

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            if not await self._routes.serve(scope, receive, send):
                await self._quart(scope, receive, _uncancelled(send))
        elif serve := self._sockets.get(_of_a_session(scope["path"])):
            await serve(scope, receive, send)
        else:
            refused = RequestRefused(404, "NOT_FOUND", "there is no WebSocket at this address")
            await self._refuse(scope, receive, send, refused)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, error: RequestRefused) -> None:
        if scope["type"] == "websocket":
            async with AsgiSocket(scope, receive, send) as socket:
                await refuse(socket, error)
        else:
            answer = error_answer(error, path=scope["path"], method=scope["method"])
            slow = partial(self._limits.slow_bodies.hold, scope["client"][0])
            await answer_error(AsgiRequest(scope, receive, send, slow), answer)


def _of_a_session(path: str) -> str:
    """`/client` of `/client/SESSION`, at which a load balancer sees whose session a browser wants to resume."""
    before, _, session = path.rpartition("/")
    return CLIENT if session and before == CLIENT else path


def _first_part(path: str) -> str:
    """`/calls` of `/calls/ID`. Quart takes an address with a host for its path (RFC 9112, 3.2.2), so this does too."""
    path = path if path.startswith("/") else urlsplit(path).path
    return f"/{path[1:].partition('/')[0]}"


def _uncancelled(send: Send) -> Send:
    """hypercorn 0.18 starts the idle timer of a connection inside the last send of a response, and quart-trio 0.12
    cancels that send, because the end of the request reaches it first. Without its timer the connection would stay."""

    async def shielded(message: Any) -> None:
        with trio.CancelScope(shield=True):
            await send(message)

    return shielded
