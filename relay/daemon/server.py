"""The ASGI application that the server runs: it puts the endpoints together, and brings each request to its own.

WebSockets and what streams a body go their own way, everything else goes to Quart: it would put a task and two queues
between each WebSocket message and its reader, and read a body whole.
"""

from typing import Any

import trio
from quart import Response
from quart_trio import QuartTrio

from relay.daemon.admin import Admin
from relay.daemon.answers import answer_errors_as_json, refuse
from relay.daemon.call_events import CallEvents
from relay.daemon.client_gate import CLIENT, ClientGate
from relay.daemon.client_polling import ClientPolling
from relay.daemon.client_socket import ClientSocketEndpoint
from relay.daemon.front import Front
from relay.daemon.monitoring import Monitoring
from relay.daemon.pages import Pages
from relay.daemon.routes import Routes
from relay.daemon.twilio_hooks import MEDIA, TwilioHooks
from relay.daemon.twilio_media import MediaEndpoint
from relay.daemon.webhook_audio import WebhookAudio
from relay.errors import RequestRefused
from relay.net.asgi_socket import AsgiSocket, Send

BODY_MAX_BYTES = 65_536
"""A webhook is a form of a few kilobytes; what brings more does not come this way."""
BODY_TIMEOUT_S = 10
RESPONSE_TIMEOUT_S = 10


class Server:
    """The application (ASGI 3.0: lifespan, http, websocket). It makes every endpoint and finds the one of a request."""

    def __init__(self, front: Front) -> None:
        self._quart = _quart_app(front)
        gate = ClientGate(front)
        self._sockets = {MEDIA: MediaEndpoint(front).serve, CLIENT: ClientSocketEndpoint(front, gate).serve}
        self._routes = Routes()
        for part in (ClientPolling(front, gate), WebhookAudio(front, gate), CallEvents(front), Pages()):
            part.add_to(self._routes)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            if not await self._routes.serve(scope, receive, send):
                await self._quart(scope, receive, _uncancelled(send))
        elif scope["type"] == "lifespan":
            await self._quart(scope, receive, send)
        elif serve := self._sockets.get(scope["path"]):
            await serve(scope, receive, send)
        else:
            async with AsgiSocket(scope, receive, send) as socket:
                await refuse(socket, RequestRefused(404, "NOT_FOUND", "there is no WebSocket at this address"))


def _quart_app(front: Front) -> QuartTrio:
    """The endpoints that are small requests with small answers; the webhooks of Twilio only if it is enabled."""
    app = QuartTrio(__name__, static_folder=None)
    app.config.update(
        MAX_CONTENT_LENGTH=BODY_MAX_BYTES,
        BODY_TIMEOUT=BODY_TIMEOUT_S,
        RESPONSE_TIMEOUT=RESPONSE_TIMEOUT_S,
        PROVIDE_AUTOMATIC_OPTIONS=False,
    )
    answer_errors_as_json(app)
    app.after_request(_not_stored)
    Monitoring(front).add_to(app)
    Admin(front).add_to(app)
    if front.config.twilio.enabled:
        TwilioHooks(front).add_to(app)
    return app


async def _not_stored(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response


def _uncancelled(send: Send) -> Send:
    """hypercorn 0.18 starts the idle timer of a connection inside the last send of a response, and quart-trio 0.12
    cancels that send, because the end of the request reaches it first. Without its timer the connection would stay."""

    async def shielded(message: Any) -> None:
        with trio.CancelScope(shield=True):
            await send(message)

    return shielded
