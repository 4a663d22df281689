"""Each of the two ways carries a session both ways until it is lost, and says why when it never began."""

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from relay.errors import LegLost
from relay.net.asgi_socket import AsgiSocket
from relay.standin.browser.links import BATCH_EVERY_S, BATCH_MAX, PollingLink, WebSocketLink, checked
from relay.standin.browser.record import BrowserOptions, BrowserRecord, BrowserRefused, Ready
from relay.standin.browser.uplink import HEADER, UplinkLog
from tests.support.peers import serving, websocket_app

READY = Ready("s1", "token-1", "resume-1", 16000, 1)
READY_MESSAGE = {"type": "ready", "sessionId": "s1", "token": "token-1", "resume": "resume-1", "sampleRate": 16000}


@dataclass
class Client:
    """What a link needs of its client; keeps what it is given."""

    options: BrowserOptions = field(default_factory=BrowserOptions)
    record: BrowserRecord = field(default_factory=BrowserRecord)
    uplink: UplinkLog = field(default_factory=UplinkLog)
    said: trio.Event = field(default_factory=trio.Event)
    audio: list[tuple[int, int, bytes]] = field(default_factory=list)
    texts: list[dict[str, Any]] = field(default_factory=list)

    def say(self, *audio: bytes) -> None:
        for pcm in audio:
            self.uplink.append(0, pcm)
        self.said.set()
        self.said = trio.Event()

    def take_audio(self, n: int, turn: int, pcm: bytes) -> None:
        self.audio.append((n, turn, pcm))
        self.record.cursor = n

    def take_text(self, message: dict[str, Any]) -> None:
        self.texts.append(message)
        self.record.cursor = message.get("n", self.record.cursor)


class PollingServer:
    """Answers the requests of one session. A poll is answered when there is something, as by the relay."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.batches: list[tuple[float, list[bytes]]] = []
        self.next = 1
        self.send, self._messages = trio.open_memory_channel[list[dict[str, Any]]](10)

    async def handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.method == "GET":
            return httpx.Response(200, json={"next": 0, "messages": await self._messages.receive()})
        if request.url.path == "/client/s1/audio":
            batch, body = [], request.content
            while body:
                length = int.from_bytes(body[:4])
                batch.append(body[4 : 4 + length])
                body = body[4 + length :]
            if batch:
                self.batches.append((trio.current_time(), batch))
            self.next += len(batch)
            return httpx.Response(200, json={"received": len(batch), "next": self.next})
        return httpx.Response(200, json={})

    def targets(self, method: str) -> list[str]:
        return [r.url.raw_path.decode() for r in self.requests if r.method == method]


@asynccontextmanager
async def polling(client: Client) -> AsyncIterator[tuple[PollingLink, PollingServer]]:
    """A link that has begun; on leaving it is lost, and must end with that."""
    server = PollingServer()
    async with httpx.AsyncClient(base_url="http://relay.test", transport=httpx.MockTransport(server.handle)) as http:
        link = PollingLink(client, http, READY)
        async with trio.open_nursery() as nursery:
            await nursery.start(link.run)
            yield link, server
            await link.lose()


async def test_polling_first_asks_where_to_go_on(autojump_clock: MockClock) -> None:
    client = Client()
    client.say(b"one", b"two")
    async with polling(client) as (_, server):
        await wait_all_tasks_blocked()
        first, *_ = server.requests

        assert (first.method, str(first.url), first.content) == ("POST", "http://relay.test/client/s1/audio", b"")
        assert [message[HEADER.size :] for _, batch in server.batches for message in batch] == [b"one", b"two"]


async def test_every_polling_request_carries_the_sessions_token(autojump_clock: MockClock) -> None:
    client = Client()
    async with polling(client) as (link, server):
        client.say(b"one")
        await link.send('{"type":"stop"}')
        await trio.sleep(1)

        assert {request.headers["authorization"] for request in server.requests} == {"Bearer token-1"}
        assert server.targets("POST").count("/client/s1/messages") == 1


async def test_polling_collects_what_is_said_for_60_ms_and_sends_25_messages_at_most(
    autojump_clock: MockClock,
) -> None:
    client = Client()
    async with polling(client) as (_, server):
        await wait_all_tasks_blocked()
        began_s = trio.current_time()
        client.say(b"first")
        for _ in range(2):
            await trio.sleep(0.02)
            client.say(b"more")
        await trio.sleep(1)
        client.say(*[b"burst"] * (BATCH_MAX + 5))
        await trio.sleep(1)

    assert [len(batch) for _, batch in server.batches] == [3, BATCH_MAX, 5]
    assert server.batches[0][0] - began_s == pytest.approx(BATCH_EVERY_S)


async def test_polling_takes_audio_and_texts_and_asks_on_from_the_last_of_them(autojump_clock: MockClock) -> None:
    client = Client()
    async with polling(client) as (_, server):
        audio = {"type": "audio", "turn": 2, "seq": 1, "ms": 0, "audio": base64.b64encode(b"pcm").decode()}
        await server.send.send([audio, {"type": "final", "n": 2}])
        await wait_all_tasks_blocked()

        assert client.audio == [(1, 2, b"pcm")]
        assert client.texts == [{"type": "final", "n": 2}]
        assert server.targets("GET") == ["/client/s1/audio?after=0", "/client/s1/audio?after=2"]


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (httpx.Response(403, json={"error": "no", "code": "FULL"}), "FULL"),
        (httpx.Response(502, json={}), "HTTP_502"),
        (httpx.Response(404), "HTTP_404"),
    ],
)
def test_an_error_over_http_is_a_refusal_with_the_relays_code_or_the_status(
    response: httpx.Response, code: str
) -> None:
    with pytest.raises(BrowserRefused) as refused:
        checked(response)
    assert refused.value.code == code


def test_an_answer_that_is_no_error_is_its_json() -> None:
    assert checked(httpx.Response(201, json={"next": 3})) == {"next": 3}
    assert checked(httpx.Response(204)) == {}


Handler = Callable[[AsgiSocket], Awaitable[None]]


@asynccontextmanager
async def socketed(client: Client, handler: Handler) -> AsyncIterator[tuple[WebSocketLink, list[Ready], trio.Event]]:
    """A link that has begun over a socket that `handler` serves, the answers it was given, and the event of its end."""
    answers: list[Ready] = []
    over = trio.Event()
    async with serving(websocket_app(handler)) as port:
        link = WebSocketLink(client, f"http://127.0.0.1:{port}")

        async def run(task_status: trio.TaskStatus[None]) -> None:
            await link.run(client.options.start(), answers.append, task_status)
            over.set()

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                await nursery.start(run)
                yield link, answers, over
                await link.lose()


async def test_the_first_message_is_the_start_and_its_answer_is_told_before_anything_else() -> None:
    started: list[dict[str, Any]] = []

    async def welcome(asgi: AsgiSocket) -> None:
        started.append(json.loads(await asgi.receive()))
        await asgi.send(json.dumps({**READY_MESSAGE, "next": 1}))
        await asgi.receive()

    async with socketed(Client(), welcome) as (_, answers, _over):
        assert answers == [READY]
    assert started == [BrowserOptions().start()]


async def test_a_websocket_carries_audio_and_texts_both_ways() -> None:
    heard: list[str | bytes] = []

    async def converse(asgi: AsgiSocket) -> None:
        await asgi.receive()
        await asgi.send(json.dumps(READY_MESSAGE))
        await asgi.send(HEADER.pack(1, 20, 3) + b"pcm")
        await asgi.send('{"type":"final","n":2}')
        heard.extend([await asgi.receive() for _ in range(3)])
        await asgi.close(1000)

    client = Client()
    async with socketed(client, converse) as (link, _, over):
        client.say(b"one", b"two")
        await link.send('{"type":"stop"}')
        await over.wait()

    assert client.audio == [(1, 3, b"pcm")]
    assert client.texts == [{"type": "final", "n": 2}]
    assert sorted(heard, key=str) == sorted(
        [HEADER.pack(1, 0, 0) + b"one", HEADER.pack(2, 0, 0) + b"two", '{"type":"stop"}'], key=str
    )


async def test_a_refusal_over_a_websocket_has_the_relays_code() -> None:
    async def refuse(asgi: AsgiSocket) -> None:
        await asgi.receive()
        await asgi.send('{"type":"error","error":"no room","code":"FULL"}')
        await asgi.receive()

    with pytest.RaisesGroup(pytest.RaisesExc(BrowserRefused, match="FULL: no room"), flatten_subgroups=True):
        async with socketed(Client(), refuse):
            raise AssertionError("it began")


async def test_a_relay_that_answers_nothing_is_given_up() -> None:
    async def silent(asgi: AsgiSocket) -> None:
        await asgi.receive()
        await asgi.receive()

    client = Client(BrowserOptions(timeout_s=0.1))
    with pytest.RaisesGroup(trio.TooSlowError, flatten_subgroups=True):
        async with socketed(client, silent):
            raise AssertionError("it began")


async def test_a_lost_websocket_ends_the_link_and_nothing_can_be_sent_any_more() -> None:
    lost = trio.Event()

    async def welcome(asgi: AsgiSocket) -> None:
        await asgi.receive()
        await asgi.send(json.dumps(READY_MESSAGE))
        try:
            await asgi.receive()
        except LegLost:
            lost.set()

    async with socketed(Client(), welcome) as (link, _, over):
        await link.lose()
        await over.wait()
        await lost.wait()
        with pytest.raises(LegLost):
            await link.send('{"type":"stop"}')


async def test_a_relay_that_is_not_there_is_a_lost_leg() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    with pytest.raises(LegLost):
        await WebSocketLink(Client(), f"http://127.0.0.1:{port}").run({}, lambda _: None, trio.TASK_STATUS_IGNORED)
