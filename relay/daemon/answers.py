"""The forms that an answer of the relay has: JSON, TwiML, text, and one for every error, whichever way it takes.

An error is `{"error": "what happened and what to do", "code": "SNAKE_CASE"}`, never HTML. `error_answer` makes it of
what a handler raised, for Quart's endpoints, for those without a framework (`relay.daemon.routes`) and for the refusal
of a WebSocket. Quart's own Response class needs asyncio for some bodies, so ours are TrioResponse.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from quart import Response, jsonify, request
from quart_trio import QuartTrio
from quart_trio.wrappers import TrioResponse
from werkzeug.exceptions import HTTPException

from relay.errors import AuthRejected, RemoteProtocolError, RequestRefused, SessionElsewhere
from relay.net.asgi_socket import AsgiSocket

log = structlog.get_logger(__name__)

_KNOWN = {
    400: ("BAD_REQUEST", "the request cannot be read"),
    404: ("NOT_FOUND", "there is nothing at this address"),
    405: ("METHOD_NOT_ALLOWED", "this address takes other methods: see the Allow header"),
    408: ("BODY_TIMEOUT", "the body did not arrive in time: send it again"),
    413: ("BODY_TOO_LARGE", "the body is too long for this address"),
}
_PROTOCOL_STATUS = {"BODY_TOO_LARGE": 413, "TOO_LARGE": 413, "BODY_TIMEOUT": 408}
RETRY_AFTER_S = {429: 1, 503: 5}


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """`text` says what happened and what to do."""

    status: int
    code: str
    text: str
    headers: dict[str, str] = field(default_factory=dict)
    session_id: str = ""
    """Where the client's session is to be had, if anywhere else."""

    @property
    def body(self) -> dict[str, str]:
        where = {"sessionId": self.session_id} if self.session_id else {}
        return {"error": self.text, "code": self.code, **where}


def error_answer(error: Exception, *, path: str, method: str) -> ErrorAnswer:
    """What to answer to a request whose handler raised this. A crash of ours is logged, with `path` and `method`."""
    match error:
        case SessionElsewhere(status=status, code=code, session_id=session_id):
            answer = ErrorAnswer(status, code, str(error), session_id=session_id)
        case RequestRefused(status=status, code=code):
            answer = ErrorAnswer(status, code, str(error))
        case AuthRejected(code=code):
            answer = ErrorAnswer(403, code, f"not let in: {error}")
        case RemoteProtocolError(code=code):
            answer = ErrorAnswer(_PROTOCOL_STATUS.get(code, 400), code, str(error))
        case HTTPException():
            answer = _of_framework(error)
        case _:
            log.error("request.failed", path=path, method=method, exc_info=error, repeats=(path, method))
            answer = ErrorAnswer(500, "INTERNAL_ERROR", "the relay failed on this request; its log says why")
    if answer.status in RETRY_AFTER_S:
        answer.headers["Retry-After"] = str(RETRY_AFTER_S[answer.status])
    return answer


def _of_framework(error: HTTPException) -> ErrorAnswer:
    status = error.code or 500
    code, text = _KNOWN.get(status, (f"HTTP_{status}", error.name.lower()))
    valid_methods: Any = getattr(error, "valid_methods", None)
    return ErrorAnswer(status, code, text, {"Allow": ", ".join(sorted(valid_methods))} if valid_methods else {})


def json_answer(status: int, values: Mapping[str, Any]) -> Response:
    """A JSON object."""
    response: Response = jsonify(dict(values))
    response.status_code = status
    return response


def twiml_answer(document: str) -> Response:
    return TrioResponse(document, content_type="text/xml; charset=utf-8")


def text_answer(text: bytes, content_type: str) -> Response:
    return TrioResponse(text, content_type=content_type)


def empty_answer() -> Response:
    """204."""
    return TrioResponse(b"", status=204)


async def refuse(socket: AsgiSocket, error: Exception) -> None:
    """Answer an upgrade request with an error in place of the WebSocket."""
    answer = error_answer(error, path=socket.raw_path, method="GET")
    await socket.refuse(answer.status, error=answer.text, code=answer.code)


def answer_errors_as_json(app: QuartTrio) -> None:
    """Make every error of the app's handlers, and of its routing, an answer of the one form."""
    app.register_error_handler(Exception, _answer_error)


async def _answer_error(error: Exception) -> Response:
    answer = error_answer(error, path=request.path, method=request.method)
    response = json_answer(answer.status, answer.body)
    response.headers.update(answer.headers)
    return response
