"""The lab before the built-in assistant: its REST interface and its socket are both behind it."""

from urllib.parse import urlsplit

import httpx
import pytest
import trio

from relay.errors import LegLost
from relay.net.client_socket import open_client_socket
from relay.net.link.link import Link
from relay.standin.assistant import open_assistant
from relay.standin.lab import open_lab

ORDER = {
    "assistantId": "a",
    "transport": {"provider": "vapi.websocket", "audioFormat": {"format": "mulaw", "sampleRate": 8000}},
}
HEADERS = {"Authorization": "Bearer private", "User-Agent": "test"}


async def to_the_end(socket: Link) -> None:
    while True:
        await socket.receive()


async def test_the_socket_of_a_call_goes_the_way_the_call_was_made_and_can_be_cut_there() -> None:
    async with open_assistant(key="private") as assistant:
        target = urlsplit(assistant.base_url)
        async with (
            open_lab((str(target.hostname), target.port or 0)) as lab,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{lab.port}", headers=HEADERS, trust_env=False) as client,
        ):
            answer = (await client.post("/call", json=ORDER)).json()
            url = answer["transport"]["websocketCallUrl"]
            assert urlsplit(url).port == lab.port
            with trio.fail_after(30):
                async with open_client_socket(url, connect_timeout_s=30) as socket:
                    await socket.receive()
                    lab.drop()
                    with pytest.raises(LegLost):
                        await to_the_end(socket)
