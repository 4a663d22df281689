"""Every error an endpoint answers: JSON `{"error", "code"}`, never HTML."""

from typing import Any

import structlog
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from relay.daemon.answers import error_answer
from relay.errors import AuthRejected

log = structlog.get_logger(__name__)

_KNOWN = {
    400: ("BAD_REQUEST", "the request cannot be read"),
    404: ("NOT_FOUND", "there is nothing at this address"),
    405: ("METHOD_NOT_ALLOWED", "this address takes other methods: see the Allow header"),
    408: ("BODY_TIMEOUT", "the body did not arrive in time: send it again"),
    413: ("BODY_TOO_LARGE", "the body is too long for this address"),
}


class Problem(Exception):
    """An error answer of ours: `text` says what happened and what to do."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code


def answer_errors_as_json(app: QuartTrio) -> None:
    """Make every error of the app's handlers, and of its routing, an answer of the one form."""
    app.register_error_handler(Problem, _own)
    app.register_error_handler(AuthRejected, _rejected)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _crash)


async def _own(problem: Problem) -> Response:
    return error_answer(problem.status, problem.code, str(problem))


async def _rejected(rejected: AuthRejected) -> Response:
    return error_answer(403, rejected.code, f"not let in: {rejected}")


async def _http(error: HTTPException) -> Response:
    status = error.code or 500
    code, text = _KNOWN.get(status, (f"HTTP_{status}", error.name.lower()))
    response = error_answer(status, code, text)
    valid_methods: Any = getattr(error, "valid_methods", None)
    if valid_methods:
        response.headers["Allow"] = ", ".join(sorted(valid_methods))
    return response


async def _crash(error: Exception) -> Response:
    log.error("request.failed", path=request.path, method=request.method, exc_info=error)
    return error_answer(500, "INTERNAL_ERROR", "the relay failed on this request; its log says why")
