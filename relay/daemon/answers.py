"""The forms an HTTP answer of the relay has. Quart's own Response class needs asyncio for some bodies."""

from collections.abc import Mapping
from typing import Any

from quart import Response, jsonify
from quart_trio.wrappers import TrioResponse


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
