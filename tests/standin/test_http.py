"""The small server answers one request after the other, hands an upgrade on unread, and survives everything else."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import MockClock

from relay.standin.http import Request, Response, Rewound, serve_connection
from tests.support.streams import read_all, socket_pair

UPGRADE = b"GET /m HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"


@dataclass
class Served:
    """What the handlers were given: whole requests, and of an upgrade its target and every byte of the stream."""

    requests: list[Request] = field(default_factory=list)
    upgrades: list[tuple[str, bytes]] = field(default_factory=list)

    async def answer(self, request: Request) -> Response:
        self.requests.append(request)
        return Response.of(200, {"number": len(self.requests)})

    async def upgrade(self, target: str, head: Rewound, stream: trio.SocketStream) -> None:
        self.upgrades.append((target, b"".join([bytes(data) async for data in head])))


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Served, trio.SocketStream]]:
    """A client of a served connection; on leaving the client goes, and the server must come to an end."""
    handlers = Served()
    client, server = socket_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_connection, server, handlers.answer, handlers.upgrade)
        async with client:
            yield handlers, client


async def answers(client: trio.SocketStream, count: int) -> list[dict[str, int]]:
    """The bodies of so many answers."""
    data = b""
    while data.count(b"}") < count:
        data += await client.receive_some()
    return [json.loads(part.partition(b"\r\n\r\n")[2]) for part in data.split(b"HTTP/1.1 200 OK")[1:]]


async def test_a_request_is_had_whole_with_its_header_names_in_lower_case() -> None:
    async with served() as (handlers, client):
        for part in (b"POST /call?a=b HTTP/1.1\r\nHost: a\r\nX-One: Two\r\nContent-Length: 4\r\n", b"\r\nbo", b"dy"):
            await client.send_all(part)
        assert await answers(client, 1) == [{"number": 1}]

    headers = {"host": "a", "x-one": "Two", "content-length": "4"}
    assert handlers.requests == [Request("POST", "/call?a=b", headers, b"body")]


async def test_requests_follow_each_other_on_one_connection() -> None:
    async with served() as (handlers, client):
        await client.send_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert await answers(client, 2) == [{"number": 1}, {"number": 2}]

    assert [request.target for request in handlers.requests] == ["/1", "/2"]


async def test_a_client_that_wants_the_connection_closed_gets_that() -> None:
    async with served() as (_, client):
        await client.send_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = await read_all(client)

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b'\r\n\r\n{"number": 1}')


@pytest.mark.parametrize("size", [len(UPGRADE) + 3, 10])
async def test_an_upgrade_is_handed_on_with_every_byte_of_it(size: int) -> None:
    sent = UPGRADE + b"abc"
    async with served() as (handlers, client):
        for at in range(0, len(sent), size):
            await client.send_all(sent[at : at + size])
        await client.send_eof()
        assert await read_all(client) == b""

    assert handlers.upgrades == [("/m", sent)]
    assert handlers.requests == []


async def test_an_upgrade_that_came_together_with_the_request_before_it_is_whole() -> None:
    async with served() as (handlers, client):
        await client.send_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n" + UPGRADE + b"abc")
        await client.send_eof()
        await read_all(client)

    assert [request.target for request in handlers.requests] == ["/1"]
    assert handlers.upgrades == [("/m", UPGRADE + b"abc")]


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET",
        b"\x00\x01\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nshort",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n" + bytes(1 << 20) + b"x",
    ],
    ids=["nothing", "cut", "garbage", "no host", "a short body", "a long body"],
)
async def test_what_is_no_request_is_not_answered_and_the_connection_is_closed(sent: bytes) -> None:
    with trio.fail_after(30):
        async with served() as (handlers, client):
            await client.send_all(sent)
            await client.send_eof()
            assert await read_all(client) == b""

    assert handlers.requests == []


async def test_an_idle_connection_is_closed_after_a_minute(autojump_clock: MockClock) -> None:
    async with served() as (_, client):
        began_s = trio.current_time()
        assert await client.receive_some() == b""

        assert trio.current_time() - began_s == 60


async def test_a_client_that_is_gone_before_its_answer_does_no_harm() -> None:
    async with served() as (handlers, client):
        await client.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await client.aclose()

    assert len(handlers.requests) == 1
