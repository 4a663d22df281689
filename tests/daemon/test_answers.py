"""Every error is one answer of one form, whoever raised it, and a crash of ours gives nothing away."""

import json
from typing import Any

import pytest
from quart import request
from quart_trio import QuartTrio
from structlog.testing import capture_logs
from werkzeug.exceptions import MethodNotAllowed, NotFound, RequestEntityTooLarge, UnsupportedMediaType

from relay.daemon.answers import answer_errors_as_json, empty_answer, error_answer, json_answer, refuse, twiml_answer
from relay.errors import AuthRejected, RemoteProtocolError, RequestRefused
from relay.net.asgi_socket import STREAM_STATE, AsgiSocket


@pytest.mark.parametrize(
    ("error", "status", "code", "headers"),
    [
        (RequestRefused(410, "SESSION_OVER", "over"), 410, "SESSION_OVER", {}),
        (RequestRefused(429, "TOO_MANY", "slower"), 429, "TOO_MANY", {"Retry-After": "1"}),
        (RequestRefused(503, "FULL", "later"), 503, "FULL", {"Retry-After": "5"}),
        (AuthRejected("signature wrong"), 403, "AUTH_REJECTED", {}),
        (RemoteProtocolError("no", "NOT_JSON"), 400, "NOT_JSON", {}),
        (RemoteProtocolError("no", "BODY_TOO_LARGE"), 413, "BODY_TOO_LARGE", {}),
        (RemoteProtocolError("no", "TOO_LARGE"), 413, "TOO_LARGE", {}),
        (RemoteProtocolError("no", "BODY_TIMEOUT"), 408, "BODY_TIMEOUT", {}),
        (NotFound(), 404, "NOT_FOUND", {}),
        (RequestEntityTooLarge(), 413, "BODY_TOO_LARGE", {}),
        (MethodNotAllowed(["POST", "GET"]), 405, "METHOD_NOT_ALLOWED", {"Allow": "GET, POST"}),
        (UnsupportedMediaType(), 415, "HTTP_415", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_each_error_has_its_status_its_code_and_what_the_client_should_do(
    error: Exception, status: int, code: str, headers: dict[str, str]
) -> None:
    with capture_logs() as logged:
        answer = error_answer(error, path="/a", method="GET")

    assert (answer.status, answer.code, answer.headers) == (status, code, headers)
    assert answer.body == {"error": answer.text, "code": code}
    assert answer.text
    assert logged == []


def test_a_crash_of_ours_is_logged_and_its_text_is_not_for_the_client() -> None:
    with capture_logs() as logged:
        answer = error_answer(ValueError("secret"), path="/a", method="PUT")

    assert (answer.status, answer.code) == (500, "INTERNAL_ERROR")
    assert "secret" not in answer.text
    [failed] = logged
    assert (failed["event"], failed["path"], failed["method"]) == ("request.failed", "/a", "PUT")
    assert isinstance(failed["exc_info"], ValueError)


def app() -> QuartTrio:
    made = QuartTrio(__name__, static_folder=None)
    answer_errors_as_json(made)

    async def refused() -> str:
        await request.get_data()
        raise RequestRefused(503, "FULL", "later")

    made.add_url_rule("/refused", view_func=refused, methods=["POST"])
    return made


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "header"),
    [
        ("POST", "/refused", 503, "FULL", ("Retry-After", "5")),
        ("POST", "/nothing", 404, "NOT_FOUND", None),
        ("PUT", "/refused", 405, "METHOD_NOT_ALLOWED", ("Allow", "OPTIONS, POST")),
    ],
)
async def test_the_framework_answers_errors_of_handlers_and_of_routing_in_that_form(
    method: str, path: str, status: int, code: str, header: tuple[str, str] | None
) -> None:
    answer = await getattr(app().test_client(), method.lower())(path)
    body = await answer.get_json()

    assert (answer.status_code, body["code"], set(body)) == (status, code, {"error", "code"})
    assert header is None or answer.headers[header[0]] == header[1]


async def test_a_websocket_is_refused_in_that_form_too() -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    extensions: dict[str, Any] = {"websocket.http.response": {}}
    state = {STREAM_STATE: None}
    scope = {
        "type": "websocket",
        "raw_path": b"/a",
        "query_string": b"",
        "headers": [],
        "extensions": extensions,
        "state": state,
    }
    async with AsgiSocket(scope, receive, send) as socket:
        await refuse(socket, RequestRefused(503, "FULL", "later"))

    assert sent[0]["status"] == 503
    assert json.loads(b"".join(event.get("body", b"") for event in sent[1:])) == {"error": "later", "code": "FULL"}


async def test_answers_say_what_they_are() -> None:
    async with app().app_context():
        answers = [json_answer(201, {"a": 1}), twiml_answer("<Response/>"), empty_answer()]

    assert [answer.status_code for answer in answers] == [201, 200, 204]
    assert [answer.content_type for answer in answers[:2]] == ["application/json", "text/xml; charset=utf-8"]
    assert [await answer.get_data() for answer in answers[1:]] == [b"<Response/>", b""]
