"""Peers that break every rule, at the real server: none of them is an error of ours in the log, or leaves anything."""

import logging
from collections.abc import Callable, Sequence

import pytest
import trio
from structlog.testing import capture_logs

from tests.net.test_http1 import BINARY, FIN, PING, TEXT, frame
from tests.support.frontrig import ADMIN_TOKEN, PUBLIC, PUBLIC_WSS, open_front, signature
from tests.support.leaks import left_to_the_collector, no_collector, resources, resources_return_to
from tests.support.peers import reset

Steps = Sequence[bytes | float]
"""What is sent, and the seconds between."""

SOON_S = 0.1
"""Long enough for an answer, on a machine that is not too busy; if it is, another fault is tried."""
CLOSE = 8


def upgrade(
    path: str, *more: str, method: str = "GET", version: str = "1.1", key: str = "dGhlIHNhbXBsZSBub25jZQ=="
) -> bytes:
    lines = [
        f"{method} {path} HTTP/{version}",
        "Host: relay.test",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Origin: {PUBLIC}",
        f"X-Twilio-Signature: {signature(PUBLIC_WSS + path)}",
        f"Sec-WebSocket-Key: {key}",
        *(more if any("Version" in line for line in more) else ("Sec-WebSocket-Version: 13", *more)),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def post(path: str, *more: str) -> bytes:
    kind = "Content-Type: application/x-www-form-urlencoded"
    length = () if any("Transfer-Encoding" in line for line in more) else ("Content-Length: 100",)
    lines = [f"POST {path} HTTP/1.1", "Host: relay.test", "X-Twilio-Signature: A", kind, *length, *more]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def get(target: str, *more: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: relay.test", *more, "", ""]).encode("latin-1")


CHUNKED, EXPECT = "Transfer-Encoding: chunked", "Expect: 100-continue"


def of_sockets(path: str) -> dict[str, Steps]:
    return {
        "noise behind the upgrade": [upgrade(path) + b"noise" * 10],
        "noise behind it, a little later": [upgrade(path), 0.0, b"noise" * 10],
        "much noise behind it": [upgrade(path) + b"x" * 200_000],
        "a frame behind it": [upgrade(path) + frame(FIN | TEXT, 2, b"{}")],
        "a goodbye behind it": [upgrade(path) + frame(FIN | CLOSE, 2, b"\x03\xe8")],
        "another upgrade behind it": [upgrade(path) * 2],
        "an upgrade behind a request": [get("/health") + upgrade(path) + b"noise"],
        "noise for frames": [upgrade(path), SOON_S, b"\xff" * 100],
        "half a frame": [upgrade(path), SOON_S, b"\x82"],
        "noise behind the goodbye": [upgrade(path), SOON_S, frame(FIN | CLOSE, 2, b"\x03\xe8") + b"noise" * 100],
        "frames behind the goodbye": [
            *(upgrade(path), SOON_S, frame(FIN | CLOSE, 2, b"\x03\xe8"), 0.02, frame(FIN | TEXT, 2, b"{}") * 5)
        ],
        "a goodbye with no such code": [upgrade(path), SOON_S, frame(FIN | CLOSE, 2, b"\0\1")],
        "a goodbye with half a code": [upgrade(path), SOON_S, frame(FIN | CLOSE, 1, b"\0")],
        "a goodbye with no text": [upgrade(path), SOON_S, frame(FIN | CLOSE, 4, b"\x03\xe8\xff\xff")],
        "a flood of pings": [upgrade(path), SOON_S, frame(FIN | PING, 0) * 3000],
        "a flood of text": [upgrade(path), SOON_S, frame(FIN | TEXT, 2, b"{}") * 200],
        "a flood of bytes": [upgrade(path), SOON_S, frame(FIN | BINARY, 2, b"{}") * 200],
        "another version": [upgrade(path, "Sec-WebSocket-Version: 8") + b"noise"],
        "a key of one letter": [upgrade(path, key="x")],
        "HTTP/1.0": [upgrade(path, version="1.0") + b"noise"],
        "another method": [upgrade(path, method="POST") + b"noise"],
        "a body": [upgrade(path, "Content-Length: 5") + b"hello"],
        "a body in chunks": [upgrade(path, CHUNKED) + b"5\r\nhello\r\n0\r\n\r\n"],
        "an expectation": [upgrade(path, EXPECT) + b"noise"],
        "an offer of HTTP/2": [upgrade(path, "Upgrade: h2c", "HTTP2-Settings: x")],
        "a protocol that is none": [upgrade(path, 'Sec-WebSocket-Protocol: \1,,"')],
        "a header that is not ASCII": [upgrade(path, "Sec-WebSocket-Protocol: \xff")],
    }


def of_bodies(path: str) -> dict[str, Steps]:
    return {
        "half a body": [post(path) + b"Call"],
        "half a body, later": [post(path), SOON_S, b"Call"],
        "too much body": [post(path) + b"x" * 1000],
        "many at once": [(post(path) + b"x" * 100) * 20],
        "a chunk that is none": [post(path, CHUNKED), 0.02, b"ZZ\r\n"],
        "a chunk without end": [post(path, CHUNKED), 0.02, b"f" * 17 + b"\r\n"],
        "an expectation alone": [post(path, EXPECT)],
        "an expectation and half a body": [post(path, EXPECT), SOON_S, b"x"],
        "an expectation and no chunk": [post(path, EXPECT, CHUNKED), SOON_S, b"ZZ\r\n"],
        "another expectation": [post(path, "Expect: 200-ok") + b"x" * 100],
        "headers that are noise": [post(path, "X-Forwarded-For: \xff,,,", "Authorization: \xff", "Cookie: \xff=\xff")],
    }


def at_each(faults: Callable[[str], dict[str, Steps]], *paths: str) -> list[Steps]:
    return [steps for path in paths for steps in faults(path).values()]


OF_TARGETS: list[Steps] = [
    [get(target, method=method) + b"noise"]
    for method, target in (
        *(
            ("GET", target)
            for target in ("?", "health", "*", "#", "http://", "/%ff%00", "//", "/?%ff&&;==", "/twilio/*")
        ),
        *(("OPTIONS", "*"), ("CONNECT", "host:80"), ("CONNECT", "/"), ("BREW", "/client/x/audio")),
    )
]
OTHERS: dict[str, Steps] = {
    "nothing": [],
    "half of TLS": [b"\x16\x03"],
    "TLS": [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200)],
    "many requests": [get("/health") * 200],
    "noise behind a request": [get("/health") + b"\0\xff" * 3],
    "a body where there is none": [get("/metrics", "Content-Length: 10") + b"abc"],
    "an upgrade to something": [get("/health", "Connection: upgrade", "Upgrade: something") + b"noise"],
    "a listener of no call": [get("/calls/x/events", f"Authorization: Bearer {ADMIN_TOKEN}") + b"noise"],
}


@pytest.mark.parametrize("ending", ["close", "reset", "half-closed", "read"])
@pytest.mark.parametrize(
    "faults",
    [
        at_each(of_sockets, "/twilio/media", "/client", "/nothing"),
        at_each(of_bodies, "/twilio/voice", "/webhook/audio", "/client", "/nothing"),
        OF_TARGETS,
        list(OTHERS.values()),
    ],
    ids=["sockets", "bodies", "targets", "others"],
)
async def test_the_fault_of_a_peer_is_no_error_of_ours(
    faults: list[Steps], ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    async with open_front() as rig:
        await rig.http.get("/health")
        before = await resources()
        with capture_logs() as logs:
            async with trio.open_nursery() as nursery:
                for steps in faults:
                    nursery.start_soon(misbehave, rig.port, steps, ending)
            await resources_return_to(before)

        assert [line for line in logs if line["log_level"] in {"error", "critical"}] == []
        assert [record for record in caplog.records if record.name.startswith(("relay", "hypercorn", "quart"))] == []
        assert (await rig.http.get("/health")).status_code == 200


OTHER_ORIGIN = upgrade("/client").replace(PUBLIC.encode(), b"https://elsewhere.example")
REFUSED: dict[str, Steps] = {
    "another Origin": [OTHER_ORIGIN],
    "another signature": [upgrade("/twilio/media?another")],
    "no head": [b"\x16\x03"],
    "a header that is none": [get("/health", "X")],
    "a chunk that is none": [post("/webhook/audio", CHUNKED), 0.02, b"ZZ\r\n"],
    "no start": [upgrade("/client"), SOON_S],
    "messages that are none": [upgrade("/client"), SOON_S, frame(FIN | TEXT, 2, b"no") * 20],
}


@pytest.mark.parametrize("steps", REFUSED.values(), ids=REFUSED)
async def test_a_peer_that_is_not_let_in_leaves_nothing_to_the_garbage_collector(steps: Steps) -> None:
    async with open_front() as rig:
        await misbehave(rig.port, steps, "read")
        before = await resources()
        with no_collector():
            await misbehave(rig.port, steps, "read")
            await resources_return_to(before)

            assert left_to_the_collector() == {}


async def misbehave(port: int, steps: Steps, ending: str) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        try:
            for step in steps:
                if isinstance(step, float):
                    await trio.sleep(step)
                else:
                    await stream.send_all(step)
            if ending == "half-closed":
                await stream.send_eof()
            if ending == "reset":
                reset(stream)
            elif ending != "close":
                with trio.move_on_after(SOON_S):
                    while await stream.receive_some():
                        pass
        except trio.BrokenResourceError:
            pass
