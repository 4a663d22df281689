"""The ASGI application that the server runs: media sockets go their own way, everything else to Quart.

Quart would put a task and two queues between each WebSocket message and its reader.
"""

from typing import Any

from relay.daemon.front import Front
from relay.daemon.media import MediaEndpoint
from relay.daemon.twilio_hooks import MEDIA
from relay.daemon.web import create_app
from relay.net.asgi_socket import AsgiSocket


class Server:
    """ASGI 3.0: lifespan, http, websocket."""

    def __init__(self, front: Front) -> None:
        self._web = create_app(front)
        self._sockets = {MEDIA: MediaEndpoint(front).serve}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            await self._web(scope, receive, send)
        elif serve := self._sockets.get(scope["path"]):
            await serve(scope, receive, send)
        else:
            async with AsgiSocket(scope, receive, send) as socket:
                await socket.refuse(404, error="there is no WebSocket at this address", code="NOT_FOUND")
