"""Browsers on loopback: a WebSocket or HTTP requests of one session, strict about the numbers they are sent."""

import base64
import json
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import pytest
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected

from tests.support.frontrig import PUBLIC, FrontRig
from tests.support.peers import WebSocketPeer, dialled

ORIGIN = [("origin", PUBLIC)]
FRAME = (4000 * np.sin(np.arange(320) * 2 * np.pi * 300 / 16000)).astype("<i2").tobytes()


def binary(sequence: int, ms: int | None = None, pcm: bytes = FRAME) -> bytes:
    """A binary message, by default 20 ms at 16 kHz in its place."""
    return struct.pack(">III", sequence, max(0, sequence - 1) * 20 if ms is None else ms, 0) + pcm


def batch(frames: Sequence[bytes]) -> bytes:
    return b"".join(struct.pack(">I", len(frame)) + frame for frame in frames)


@dataclass
class Down:
    """Everything a client had, whatever brought it; a number that does not follow the one before fails at once."""

    cursor: int = 0
    audio: list[tuple[int, bytes]] = field(default_factory=list)
    texts: list[dict[str, Any]] = field(default_factory=list)

    def take(self, message: str | bytes | dict[str, Any]) -> dict[str, Any]:
        """Note a message; returns it as JSON."""
        if isinstance(message, bytes):
            n, ms, turn = struct.unpack_from(">III", message)
            found = {"type": "audio", "n": n, "ms": ms, "turn": turn}
            self.audio.append((turn, message[12:]))
        else:
            found = json.loads(message) if isinstance(message, str) else message
            if found["type"] == "audio":
                self.audio.append((found["turn"], base64.b64decode(found["audio"])))
            else:
                self.texts.append(found)
        if "n" in found:
            assert found["n"] == self.cursor + 1, f"{found['n']} follows {self.cursor}"
            self.cursor = found["n"]
        return found

    @property
    def codes(self) -> list[str]:
        return [text["code"] for text in self.texts if text["type"] == "error"]

    @property
    def pcm(self) -> bytes:
        return b"".join(pcm for _, pcm in self.audio)


@dataclass
class BrowserSocket:
    peer: WebSocketPeer
    down: Down = field(default_factory=Down)
    ready: dict[str, Any] = field(default_factory=dict)

    async def say(self, kind: str, **fields: Any) -> None:
        await self.peer.send(json.dumps({"type": kind, **fields}))

    async def start(self, **fields: Any) -> dict[str, Any]:
        await self.say("start", **fields)
        self.ready = await self.until("ready")
        return self.ready

    async def speak(self, *sequences: int) -> None:
        for sequence in sequences:
            await self.peer.send(binary(sequence))

    async def receive(self) -> dict[str, Any]:
        return self.down.take(await self.peer.receive())

    async def until(self, kind: str) -> dict[str, Any]:
        """The next message of this type."""
        with trio.fail_after(20):
            while True:
                found = await self.receive()
                if found["type"] == kind:
                    return found

    async def until_closed(self) -> int | None:
        """The close code, after everything that was sent before it."""
        with trio.fail_after(20):
            while True:
                try:
                    await self.receive()
                except ConnectionClosed as closed:
                    return closed.reason.code if closed.reason else None


@asynccontextmanager
async def browser(
    rig: FrontRig, headers: Sequence[tuple[str, str]] = ORIGIN, down: Down | None = None
) -> AsyncIterator[BrowserSocket]:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    async with dialled(rig.port, path="/client", headers=raw) as peer:
        yield BrowserSocket(peer, Down() if down is None else down)


async def refusal(rig: FrontRig, headers: Sequence[tuple[str, str]] = ORIGIN) -> tuple[int, str]:
    """How the upgrade of a socket is refused: the status, and the code in its body."""
    with pytest.raises(BaseExceptionGroup) as caught:
        async with browser(rig, headers):
            pass
    [rejected] = [one for one in caught.value.exceptions if isinstance(one, ConnectionRejected)]
    assert rejected.body is not None
    return rejected.status_code, json.loads(rejected.body)["code"]


@dataclass
class Poller:
    rig: FrontRig
    ready: dict[str, Any]
    down: Down = field(default_factory=Down)

    @property
    def base(self) -> str:
        return f"/client/{self.ready['sessionId']}"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.ready['token']}"}

    async def send(self, *frames: bytes) -> httpx.Response:
        return await self.rig.http.post(f"{self.base}/audio", content=batch(frames), headers=self.headers)

    async def tell(self, kind: str, **fields: Any) -> httpx.Response:
        return await self.rig.http.post(f"{self.base}/messages", json={"type": kind, **fields}, headers=self.headers)

    async def get(self, after: int | str | None = None) -> httpx.Response:
        """One poll, whose answer is not noted."""
        wanted = self.down.cursor if after is None else after
        return await self.rig.http.get(f"{self.base}/audio?after={wanted}", headers=self.headers, timeout=20)

    async def poll(self) -> list[dict[str, Any]]:
        answer = await self.get()
        assert answer.status_code == 200, answer.text
        body = answer.json()
        found = [self.down.take(message) for message in body["messages"]]
        assert body["next"] == self.down.cursor
        return found

    async def until(self, kind: str) -> dict[str, Any]:
        with trio.fail_after(20):
            while True:
                for message in await self.poll():
                    if message["type"] == kind:
                        return message


async def start_polling(rig: FrontRig, **fields: Any) -> Poller:
    answer = await rig.http.post("/client", json={"type": "start", **fields}, headers=dict(ORIGIN))
    assert answer.status_code == 201, answer.text
    return Poller(rig, answer.json())
