"""RestClient against a real server on loopback: answers, failures, bounds, and what is never logged."""

import json
import logging
import math
import socket
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from relay import __version__
from relay.errors import LegLost, RemoteProtocolError
from relay.net.rest import RESPONSE_MAX_BYTES, RestClient, open_rest_client
from tests.support.leaks import resources, resources_return_to
from tests.support.peers import serving


class Answer:
    """An ASGI application that notes requests and answers each in the same way."""

    def __init__(self, status: int = 200, body: bytes = b"{}", headers: Any = (), *, stall: bool = False) -> None:
        self.status, self.body, self.headers, self.stall = status, body, list(headers), stall
        self.requests: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for step in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{step}.complete"})
            return
        body = b""
        while True:
            event = await receive()
            body += event.get("body", b"")
            if not event.get("more_body"):
                break
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        client = scope["client"]
        self.requests.append({"method": scope["method"], "headers": headers, "body": body, "client": client})
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        if self.stall:
            await send({"type": "http.response.body", "body": b"[", "more_body": True})
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        await send({"type": "http.response.body", "body": self.body})


@asynccontextmanager
async def rest(app: Answer, *, timeout_s: float = 5.0) -> AsyncIterator[tuple[RestClient, str]]:
    async with serving(app) as port, open_rest_client(timeout_s) as client:
        yield client, f"http://127.0.0.1:{port}/secret"


async def test_post_json_sends_json_and_returns_status_and_body() -> None:
    app = Answer(201, b'{"id": 1}')
    async with rest(app) as (client, url):
        answer = await client.post_json(url, {"a": "ü"}, {"Authorization": "Bearer key"})
    (request,) = app.requests
    assert answer == (201, b'{"id": 1}')
    assert (request["method"], json.loads(request["body"])) == ("POST", {"a": "ü"})
    assert request["headers"]["authorization"] == "Bearer key"
    assert request["headers"]["content-type"] == "application/json"
    assert request["headers"]["user-agent"] == f"relay/{__version__}"


async def test_post_form_sends_names_and_values_url_encoded() -> None:
    app = Answer(201)
    async with rest(app) as (client, url):
        assert (await client.post_form(url, {"To": "+15005550006"}, {"Authorization": "Basic x"}))[0] == 201
    (request,) = app.requests
    assert (request["method"], request["body"]) == ("POST", b"To=%2B15005550006")
    assert request["headers"]["content-type"] == "application/x-www-form-urlencoded"
    assert request["headers"]["authorization"] == "Basic x"


async def test_delete_has_no_body() -> None:
    app = Answer(200)
    async with rest(app) as (client, url):
        assert await client.delete(url) == (200, b"{}")
    assert [(request["method"], request["body"]) for request in app.requests] == [("DELETE", b"")]


async def test_get_has_no_body() -> None:
    app = Answer(200, b"{}")
    async with rest(app) as (client, url):
        assert await client.get(url) == (200, b"{}")
    assert (app.requests[0]["method"], app.requests[0]["body"]) == ("GET", b"")


@pytest.mark.parametrize("status", [302, 400, 401, 404, 429, 500])
async def test_every_status_is_an_answer_and_no_redirect_is_followed(status: int) -> None:
    app = Answer(status, b"why", [(b"location", b"/elsewhere")])
    async with rest(app) as (client, url):
        assert await client.post_json(url, {}) == (status, b"why")
    assert len(app.requests) == 1


async def test_requests_share_connections() -> None:
    app = Answer()
    async with rest(app) as (client, url):
        for _ in range(3):
            await client.post_json(url, {})
    assert len({request["client"] for request in app.requests}) == 1


async def test_a_body_that_is_too_long_is_a_protocol_error() -> None:
    async with rest(Answer(body=b"x" * RESPONSE_MAX_BYTES)) as (client, url):
        assert len((await client.post_json(url, {}))[1]) == RESPONSE_MAX_BYTES
    async with rest(Answer(body=b"x" * (RESPONSE_MAX_BYTES * 4))) as (client, url):
        with pytest.raises(RemoteProtocolError) as error:
            await client.post_json(url, {})
    assert error.value.code == "RESPONSE_TOO_LARGE"


def deflated(body: bytes, window_bits: int) -> bytes:
    coder = zlib.compressobj(wbits=window_bits)
    return coder.compress(body) + coder.flush()


GZIP, ZLIB = 31, 15


@pytest.mark.parametrize(("coding", "window_bits"), [(b"gzip", GZIP), (b"X-GZIP", GZIP), (b"deflate", ZLIB)])
async def test_a_body_that_is_compressed_unasked_is_read_all_the_same(coding: bytes, window_bits: int) -> None:
    app = Answer(body=deflated(b'{"id": 1}', window_bits), headers=[(b"content-encoding", coding)])
    async with rest(app) as (client, url):
        assert await client.get(url) == (200, b'{"id": 1}')


async def test_a_body_that_grows_when_it_is_read_takes_no_more_memory_than_any_other() -> None:
    bomb = deflated(bytes(100 * RESPONSE_MAX_BYTES), GZIP)
    app = Answer(body=bomb, headers=[(b"content-encoding", b"gzip")])
    async with rest(app) as (client, url):
        tracemalloc.start()
        try:
            with pytest.raises(RemoteProtocolError) as error:
                await client.get(url)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert error.value.code == "RESPONSE_TOO_LARGE"
    assert peak < 5 * RESPONSE_MAX_BYTES


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"gzip, gzip"])
async def test_a_body_that_cannot_be_inflated_is_a_protocol_error(coding: bytes) -> None:
    async with rest(Answer(body=b"x" * 100, headers=[(b"content-encoding", coding)])) as (client, url):
        with pytest.raises(RemoteProtocolError) as error:
            await client.get(url)
    assert error.value.code == "RESPONSE_UNREADABLE"


async def test_a_body_that_never_ends_is_lost_at_the_limit() -> None:
    async with rest(Answer(stall=True), timeout_s=0.2) as (client, url):
        with pytest.raises(LegLost, match=r"^TIMEOUT 127\.0\.0\.1$"):
            await client.post_json(url, {})


async def test_a_refused_connection_is_lost_with_its_code_and_host_only() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with open_rest_client(5.0) as client:
            with pytest.raises(LegLost, match=r"^CONNECT_FAILED 127\.0\.0\.1$"):
                await client.post_json(f"http://127.0.0.1:{unused.getsockname()[1]}/secret", {})


@pytest.mark.parametrize(("raw", "code"), [(b"\x00\xff\r\n\r\n", "NETWORK_ERROR"), (b"", "NETWORK_ERROR")])
async def test_an_answer_that_is_no_http_is_lost(raw: bytes, code: str) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        if raw:
            await stream.send_all(raw)

    async with trio.open_nursery() as nursery, open_rest_client(5.0) as client:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        with pytest.raises(LegLost, match=rf"^{code} 127\.0\.0\.1$"):
            await client.post_json(f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/secret", {})
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("url", ["nothing", "ftp://a/secret", "http://a:port/"])
async def test_an_address_that_is_none_is_lost(url: str) -> None:
    async with open_rest_client(5.0) as client:
        with pytest.raises(LegLost, match="BAD_ADDRESS") as lost:
            await client.post_json(url, {})
    assert "secret" not in str(lost.value)


async def test_nothing_of_a_request_is_logged_at_any_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with rest(Answer(body=b"secret-body")) as (client, url):
        await client.post_json(url, {"key": "secret-json"}, {"Authorization": "Bearer secret-key"})
    assert "secret" not in caplog.text


async def test_a_cancelled_request_leaves_nothing_and_the_client_usable() -> None:
    app = Answer(stall=True)
    async with rest(app) as (client, url):
        before = await resources()
        with trio.move_on_after(0.1) as scope:
            await client.post_json(url, {})
        assert scope.cancelled_caught
        await resources_return_to(before)
        app.stall = False
        assert (await client.post_json(url, {}))[0] == 200


async def test_a_fresh_request_does_not_take_a_connection_that_is_open() -> None:
    app = Answer()
    async with rest(app) as (client, url):
        for fresh in (False, True, True, False):
            await client.post_json(url, {}, fresh=fresh)
    first, second, third, last = (request["client"] for request in app.requests)

    assert first == last
    assert len({first, second, third}) == 3


async def test_it_is_told_when_the_answer_begins() -> None:
    begun = trio.Event()
    async with rest(Answer(stall=True), timeout_s=0.5) as (client, url):
        with pytest.raises(LegLost, match="TIMEOUT"):
            await client.post_json(url, {}, answering=begun.set)

    assert begun.is_set()


async def test_a_request_may_have_a_limit_of_its_own() -> None:
    async with rest(Answer(stall=True), timeout_s=0.1) as (client, url):
        with trio.move_on_after(0.5) as scope:
            await client.post_json(url, {}, answer_timeout_s=math.inf)

    assert scope.cancelled_caught
