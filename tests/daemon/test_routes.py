"""Paths to handlers: exact, or with one part that varies, and nothing in between."""

from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from relay.daemon.limits import Share, SlowBodies
from relay.daemon.routes import Routes
from relay.metrics import Metrics
from relay.net.asgi_request import AsgiRequest
from relay.net.asgi_socket import AsgiSocket
from relay.net.transport import default_tls
from relay.refusals import Refusals
from tests.support.peers import raw_websocket_app, serving

NO_LIMIT = SlowBodies(Share(Refusals(Metrics()), "slow_bodies", "slow bodies", in_all=9, for_each=9))


async def handler(request: AsgiRequest, part: str) -> None:
    await request.answer(200, part.encode())


@pytest.fixture
def routes() -> Routes:
    made = Routes(NO_LIMIT)
    made.add("GET", "/a", handler)
    made.add("POST", "/a", handler)
    made.add("GET", "/a/*/b", handler)
    made.add("GET", "/web/*", handler)
    return made


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("/a", ""),
        ("/a/x/b", "x"),
        ("/web/x.js", "x.js"),
        ("/a/", None),
        ("/a/b", None),
        ("/a//b", None),
        ("/a/x/y/b", None),
        ("/a/x/bb", None),
        ("/web/", None),
        ("/web/../x", None),
        ("/", None),
        ("", None),
    ],
)
def test_a_path_is_found_or_not(routes: Routes, path: str, part: str | None) -> None:
    found = routes.find(path)

    assert (None if found is None else found[1]) == part


async def test_a_handler_that_crashes_is_one_500_and_one_log_line() -> None:
    async def crash(request: AsgiRequest, part: str) -> None:
        raise ValueError("secret")

    crashing = Routes(NO_LIMIT)
    crashing.add("GET", "/client/*/crash", crash)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await crashing.serve(scope, receive, send)
        else:
            await raw_websocket_app(nobody)(scope, receive, send)

    with capture_logs() as logs:
        async with serving(app) as port, httpx.AsyncClient(verify=default_tls(), trust_env=False) as http:
            answer = await http.get(f"http://127.0.0.1:{port}/client/session-id/crash")

    assert (answer.status_code, answer.json()["code"]) == (500, "INTERNAL_ERROR")
    assert "secret" not in answer.text
    [failed] = [line for line in logs if line["event"] == "request.failed"]
    assert failed["path"] == "/client/*/crash"


async def nobody(socket: AsgiSocket) -> None:
    raise AssertionError("no WebSocket comes")
