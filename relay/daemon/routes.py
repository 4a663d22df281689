"""HTTP endpoints without a framework: where audio comes in, and static files. Errors have the one form."""

import json
import math
from collections.abc import Awaitable, Callable

import structlog

from relay.errors import ClientRefused, LegLost, RemoteProtocolError
from relay.net.asgi_request import AsgiRequest
from relay.net.asgi_socket import Receive, Scope, Send

Handler = Callable[[AsgiRequest, str], Awaitable[None]]
"""Answers the request; the text is the variable part of the path, "" if it has none. Raises ClientRefused and
RemoteProtocolError, which are answered, and LegLost for a client that is gone."""

_STATUS = {"BODY_TOO_LARGE": 413, "TOO_LARGE": 413, "BODY_TIMEOUT": 408}
RETRY_AFTER_S = {429: 1, 503: 5}

log = structlog.get_logger(__name__)


class Routes:
    """Handlers by path and method. A path is exact, or has one `*` that stands for one part of it."""

    def __init__(self) -> None:
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
        request = AsgiRequest(scope, receive, send)
        handler = handlers.get("GET" if request.method == "HEAD" else request.method)
        try:
            if handler is None:
                allowed = ", ".join(sorted(handlers))
                await answer_error(request, 405, "METHOD_NOT_ALLOWED", f"this address takes {allowed}", Allow=allowed)
            else:
                await self._handle(handler, request, part)
        except LegLost:
            log.debug("request.lost", path=_shown(request.path, part))
        return True

    async def _handle(self, handler: Handler, request: AsgiRequest, part: str) -> None:
        try:
            await handler(request, part)
        except ClientRefused as refused:
            await answer_error(request, refused.status, refused.code, str(refused))
        except RemoteProtocolError as error:
            await answer_error(request, _STATUS.get(error.code, 400), error.code, str(error))
        except LegLost:
            raise
        except Exception:
            log.exception("request.failed", path=_shown(request.path, part), method=request.method)
            await answer_error(request, 500, "INTERNAL_ERROR", "the relay failed on this request; its log says why")


async def answer_error(request: AsgiRequest, status: int, code: str, text: str, **headers: str) -> None:
    """`text` says what happened and what to do."""
    if status in RETRY_AFTER_S:
        headers["Retry-After"] = str(math.ceil(RETRY_AFTER_S[status]))
    await request.answer(status, json.dumps({"error": text, "code": code}).encode(), headers=headers)


def _shown(path: str, part: str) -> str:
    """A path for the log: the session's id is not for it."""
    return path.replace(part, "*", 1) if part else path
