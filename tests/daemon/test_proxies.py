"""Behind a real nginx, HAProxy and Caddy each request is its client's, whatever that client says of itself."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from tests.support.frontrig import FrontRig, open_front
from tests.support.proxies import PROXIES, connected_from, program, proxy

CLIENT = "127.0.0.2"
"""Another address of this machine, which is no trusted proxy."""
INVENTED = ["X-Forwarded-For: 203.0.113.99", "X-Forwarded-For: 203.0.113.98", "Forwarded: for=203.0.113.97"]
UPGRADE = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
]
REQUESTS = {
    "http": ["POST /twilio/voice HTTP/1.1", "Content-Length: 0", "Connection: close"],
    "websocket": ["GET /twilio/media HTTP/1.1", *UPGRADE],
}


@pytest.fixture
async def rig() -> AsyncIterator[FrontRig]:
    async with open_front() as rig:
        yield rig


@pytest.mark.parametrize("name", PROXIES)
async def test_the_client_is_whom_the_proxy_was_asked_by(name: str, rig: FrontRig, tmp_path: Path) -> None:
    if program(name) is None:
        pytest.skip(f"{name} is not installed: apt-get install {name}")
    statuses, clients = {}, {}
    with proxy(name, rig.port, tmp_path) as port:
        for way, lines in REQUESTS.items():
            with capture_logs() as logs:
                statuses[way] = await status_of(port, [*lines, "Host: relay.example.com", *INVENTED])
            clients[way] = [line["client"] for line in logs if line["event"] == "webhook.rejected"]

    assert statuses == {"http": 403, "websocket": 403}
    assert clients == {"http": [CLIENT], "websocket": [CLIENT]}


async def status_of(port: int, lines: list[str]) -> int:
    """Send a request from CLIENT; the status of the answer."""
    async with await connected_from(CLIENT, port) as stream:
        await stream.send_all("\r\n".join([*lines, "", ""]).encode())
        with trio.fail_after(20):
            answer = bytearray()
            while b"\r\n" not in answer and (part := await stream.receive_some()):
                answer += part
    return int(answer.split()[1])
