"""The forms an HTTP answer of the relay has: JSON, TwiML, text, and for every error `{"error", "code"}`, never HTML.

Quart's own Response class needs asyncio for some bodies.
"""

from collections.abc import Mapping
from typing import Any

import structlog
from quart import Response, jsonify, request
from quart_trio import QuartTrio
from quart_trio.wrappers import TrioResponse
from werkzeug.exceptions import HTTPException

from relay.errors import AuthRejected

log = structlog.get_logger(__name__)

_KNOWN = {
    400: ("BAD_REQUEST", "the request cannot be read"),
    404: ("NOT_FOUND", "there is nothing at this address"),
    405: ("METHOD_NOT_ALLOWED", "this address takes other methods: see the Allow header"),
    408: ("BODY_TIMEOUT", "the body did not arrive in time: send it again"),
    413: ("BODY_TOO_LARGE", "the body is too long for this address"),
}


def json_answer(status: int, values: Mapping[str, Any]) -> Response:
    """A JSON object."""
    response: Response = jsonify(dict(values))
    response.status_code = status
    return response


def error_answer(status: int, code: str, text: str) -> Response:
    """`text` says what happened and what to do."""
    return json_answer(status, {"error": text, "code": code})


def twiml_answer(document: str) -> Response:
    return TrioResponse(document, content_type="text/xml; charset=utf-8")


def text_answer(text: bytes, content_type: str) -> Response:
    return TrioResponse(text, content_type=content_type)


def empty_answer() -> Response:
    """204."""
    return TrioResponse(b"", status=204)


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
