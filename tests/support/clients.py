"""A relay over real connections with few places, and clients whose addresses a trusted proxy tells."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio_websocket import ConnectionRejected

from relay.config import LimitsConfig, ServerConfig
from relay.metrics import LIMITS
from tests.support.browserrig import ORIGIN
from tests.support.frontrig import FrontRig, front_config, open_front
from tests.support.peers import dialled

ONE, OTHER = "198.51.100.1", "198.51.100.2"
TRIED = 30
"""Connections."""
WEBHOOK = ["POST /twilio/voice HTTP/1.1", "X-Twilio-Signature: AAAA", "Content-Type: application/x-www-form-urlencoded"]


def limited(rig: FrontRig) -> dict[str, float]:
    """What was refused so far, by limit."""
    return {limit: n for limit in LIMITS if (n := rig.metric("relay_limited_total", limit=limit))}


@asynccontextmanager
async def front(*, proxies: tuple[str, ...] = ("127.0.0.1",), **limits: Any) -> AsyncIterator[FrontRig]:
    """A relay for which the test is a proxy, unless it is told otherwise."""
    config = front_config(
        {"client_key": "client-key-of-the-test"},
        limits=LimitsConfig(**limits),
        server=ServerConfig(trusted_proxies=proxies),
    )
    async with open_front(config) as rig:
        yield rig


async def answer_of(stream: trio.SocketStream) -> tuple[int, str]:
    """The status and the code of an answer."""
    answer = bytearray()
    with trio.fail_after(20):
        while b'"}' not in answer and (part := await stream.receive_some()):
            answer += part
    return int(answer.split()[1]), json.loads(answer.partition(b"\r\n\r\n")[2])["code"]


def named(client: str) -> dict[str, str]:
    return {"X-Forwarded-For": client}


async def asked(stream: trio.SocketStream) -> tuple[int, str]:
    """The answer to a request for nothing, on a connection that stays open."""
    await stream.send_all(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
    return await answer_of(stream)


async def slow_body(rig: FrontRig, client: str, lines: list[str]) -> trio.SocketStream:
    stream = await trio.open_tcp_stream("127.0.0.1", rig.port)
    head = [*lines, "Host: x", f"X-Forwarded-For: {client}", "Content-Length: 9", "", ""]
    await stream.send_all("\r\n".join(head).encode())
    return stream


async def first_answer(streams: list[trio.SocketStream]) -> tuple[int, str]:
    """The answer of the one that is answered first."""
    answers: list[tuple[int, str]] = []

    async def note(stream: trio.SocketStream) -> None:
        answers.append(await answer_of(stream))
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for stream in streams:
            nursery.start_soon(note, stream)
    return answers[0]


def headers(client: str) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in [*ORIGIN, *named(client).items()]]


async def status_of_socket(rig: FrontRig, client: str, path: str = "/client") -> int:
    """The status with which a browser's socket is refused."""
    statuses = []
    try:
        async with dialled(rig.port, path=path, headers=headers(client)):
            pass
    except* ConnectionRejected as group:
        statuses = [error.status_code for error in group.exceptions if isinstance(error, ConnectionRejected)]
    (status,) = statuses
    return status
