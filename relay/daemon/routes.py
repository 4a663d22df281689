"""Finds the handlers of HTTP endpoints that do without a framework: audio that comes in, events, static files.

Quart would read a body whole, and put two tasks around each request.
"""

import json
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import structlog
from werkzeug.exceptions import MethodNotAllowed

from relay.daemon.answers import ErrorAnswer, error_answer
from relay.daemon.limits import SlowBodies
from relay.errors import LegLost
from relay.net.asgi_request import AsgiRequest
from relay.net.asgi_socket import Receive, Scope, Send

Handler = Callable[[AsgiRequest, str], Awaitable[None]]
"""Answers the request; the text is the variable part of the path, "" if it has none. What it raises is answered, see
`error_answer`, but for LegLost: then the client is gone."""

log = structlog.get_logger(__name__)


class Routes:
    """Handlers by path and method. A path is exact, or has one `*` that stands for one part of it."""

    def __init__(self, slow_bodies: SlowBodies) -> None:
        self._slow_bodies = slow_bodies
        self._handlers: dict[str, dict[str, Handler]] = {}

    def add(self, method: str, path: str, handler: Handler) -> None:
        self._handlers.setdefault(path, {})[method] = handler

    def find(self, path: str) -> tuple[dict[str, Handler], str] | None:
        """The handlers of a path by method, and what stood for the `*`; None if there are none."""
        if handlers := self._handlers.get(path):
            return handlers, ""
        for pattern, handlers in self._handlers.items():
            before, star, behind = pattern.partition("*")
            part = path[len(before) : len(path) - len(behind)]
            if star and part and "/" not in part and path == before + part + behind:
                return handlers, part
        return None

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Answer the request, if its path is one of these; else False and nothing is done."""
        found = self.find(scope["path"])
        if found is None:
            return False
        handlers, part = found
        request = AsgiRequest(scope, receive, send, partial(self._slow_bodies.hold, scope["client"][0]))
        handler = handlers.get("GET" if request.method == "HEAD" else request.method, _refuse_method(handlers))
        try:
            try:
                await handler(request, part)
            except LegLost:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, it has an answer
                await answer_error(request, error_answer(error, path=_shown(request.path, part), method=request.method))
        except LegLost:
            log.debug("request.lost", path=_shown(request.path, part))
        return True


async def answer_error(request: AsgiRequest, answer: ErrorAnswer) -> None:
    """Send an error. Raises LegLost for a client that is gone."""
    await request.answer(answer.status, json.dumps(answer.body).encode(), headers=answer.headers)


def _refuse_method(handlers: Iterable[str]) -> Handler:
    async def refuse(_request: AsgiRequest, _part: str) -> None:
        raise MethodNotAllowed(sorted(handlers))

    return refuse


def _shown(path: str, part: str) -> str:
    """A path for the log: the session's id is not for it."""
    return path.replace(part, "*", 1) if part else path
