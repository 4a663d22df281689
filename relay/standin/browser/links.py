"""A link carries a session, over a WebSocket or by requests. Each runs as one task until it is lost or left."""

import base64
import json
import struct
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

import httpx
import trio

from relay.errors import LegClosed, LegLost
from relay.net.client_socket import client_socket_over
from relay.net.dial import Target, dial
from relay.net.sockets import MessageSocket
from relay.standin.browser.record import BrowserOptions, BrowserRecord, BrowserRefused, Ready
from relay.standin.browser.uplink import HEADER, UplinkLog
from relay.standin.tcp import reset

BATCH_MAX = 25
"""Messages in one request: half a second of speech."""
BATCH_EVERY_S = 0.06
_LENGTH = struct.Struct(">I")


class Shared(Protocol):
    """The client, as far as a link needs it."""

    options: BrowserOptions
    record: BrowserRecord
    uplink: UplinkLog
    said: trio.Event

    def take_audio(self, n: int, turn: int, pcm: bytes) -> None: ...
    def take_text(self, message: dict[str, Any]) -> None: ...


class WebSocketLink:
    """One WebSocket: messages go up as they are said, and come down as they are sent."""

    kind = "websocket"

    def __init__(self, client: Shared, url: str, session_id: str | None = None) -> None:
        """`session_id` is of the session to resume, if there is one."""
        parts = urlsplit(url)
        scheme = "wss" if parts.scheme == "https" else "ws"
        self._client = client
        path = "/client" if session_id is None else f"/client/{session_id}"
        self._target = Target.parse(urlunsplit((scheme, parts.netloc, path, "", "")))
        self._socket: MessageSocket
        self._stream: trio.abc.Stream
        self._sending = trio.Lock()

    async def run(
        self, start: dict[str, Any], wanted: Callable[[Ready], None], task_status: trio.TaskStatus[None]
    ) -> None:
        """Attach, give the answer to `wanted`, and carry messages until the socket is lost.

        Raises BrowserRefused, LegLost without a connection, trio.TooSlowError when the answer is late.
        """
        options = self._client.options
        deadline = trio.current_time() + options.timeout_s
        headers = {"Origin": options.origin} if options.origin else {}
        with trio.fail_after(options.timeout_s):
            self._stream = await dial(self._target, None)
        async with client_socket_over(self._stream, self._target, headers=headers, deadline=deadline) as self._socket:
            await self._socket.send(json.dumps(start))
            with trio.fail_after(options.timeout_s):
                answer = json.loads(await self._socket.receive())
            if answer["type"] != "ready":
                raise BrowserRefused(answer.get("code", "?"), answer.get("error", ""), answer.get("sessionId", ""))
            wanted(Ready.of(answer))
            task_status.started()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                await self._read()
                nursery.cancel_scope.cancel()

    async def send(self, message: str | bytes) -> None:
        """Send a message between those of the log. LegLost when the socket is gone."""
        async with self._sending:
            await self._socket.send(message)

    async def lose(self) -> None:
        """Lose the connection by a reset; over TLS it is closed without a goodbye."""
        if isinstance(self._stream, trio.SocketStream):
            reset(self._stream)
        await trio.aclose_forcefully(self._stream)

    async def _read(self) -> None:
        while True:
            try:
                message = await self._socket.receive()
            except (LegLost, LegClosed):
                return
            if isinstance(message, bytes):
                n, _, turn = HEADER.unpack_from(message)
                self._client.take_audio(n, turn, message[HEADER.size :])
            else:
                self._client.take_text(json.loads(message))

    async def _write(self) -> None:
        try:
            while True:
                said = self._client.said
                for message in self._client.uplink.take(BATCH_MAX):
                    await self.send(message)
                if not self._client.uplink.waiting:
                    await said.wait()
        except LegLost:
            return


class PollingLink:
    """Requests over HTTP: what is said is collected and posted, what comes down is polled for."""

    kind = "polling"

    def __init__(self, client: Shared, http: httpx.AsyncClient, ready: Ready) -> None:
        self._client = client
        self._http = http
        self._path = f"/client/{ready.session_id}"
        self._headers = {"Authorization": f"Bearer {ready.token}"}
        self._over = trio.CancelScope()

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Ask where to go on, then post and poll until the link is lost. Raises BrowserRefused."""
        self._client.uplink.resume_at((await self._post_audio([]))["next"])
        task_status.started()
        with self._over:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                await self._read()

    async def send(self, message: str | bytes) -> None:
        """Text only: `played` or `stop`."""
        await self._request("POST", "/messages", content=message, headers={"Content-Type": "application/json"})

    async def lose(self) -> None:
        """Ask no more."""
        await trio.lowlevel.checkpoint()
        self._over.cancel()

    async def _read(self) -> None:
        while True:
            answer = await self._request("GET", f"/audio?after={self._client.record.cursor}")
            for message in answer["messages"]:
                if message["type"] == "audio":
                    pcm = base64.b64decode(message["audio"], validate=True)
                    self._client.take_audio(message["seq"], message["turn"], pcm)
                else:
                    self._client.take_text(message)

    async def _write(self) -> None:
        while True:
            said = self._client.said
            while batch := self._client.uplink.take(BATCH_MAX):
                self._client.uplink.resume_at((await self._post_audio(batch))["next"])
            await said.wait()
            await trio.sleep(BATCH_EVERY_S)

    async def _post_audio(self, batch: list[bytes]) -> dict[str, Any]:
        body = b"".join(_LENGTH.pack(len(message)) + message for message in batch)
        return await self._request("POST", "/audio", content=body, headers={"Content-Type": "application/octet-stream"})

    async def _request(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        headers = {**arguments.pop("headers", {}), **self._headers}
        return checked(await self._http.request(method, self._path + path, headers=headers, **arguments))


def checked(response: httpx.Response) -> dict[str, Any]:
    """The JSON of an answer that is no error. BrowserRefused otherwise."""
    answer: dict[str, Any] = response.json() if response.content else {}
    if response.is_success:
        return answer
    code = answer.get("code", f"HTTP_{response.status_code}")
    raise BrowserRefused(code, answer.get("error", ""), answer.get("sessionId", ""))


Link = WebSocketLink | PollingLink
