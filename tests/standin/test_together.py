"""Caller and assistant, joined by the simplest relay there can be: it copies bytes and does nothing else."""

import base64
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httpx
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream, wrap_server_stream

from relay.media.frames import TELEPHONE
from relay.standin.assistant import Assistant, Behaviour, open_assistant
from relay.standin.http import Request, Response, Rewound, serve_connection
from relay.standin.phone import PhoneOptions, open_phone
from relay.standin.phrases import spoken

ORDER = {
    "assistantId": "a",
    "transport": {"provider": "vapi.websocket", "audioFormat": {"format": "mulaw", "sampleRate": 8000}},
    "assistantOverrides": {"firstMessageInterruptionsEnabled": True},
}
PUBLIC = "https://relay.example.com"
TWIML = b'<Response><Connect><Stream url="wss://relay.example.com/m"/></Connect></Response>'


class Wire:
    """A relay without any judgement: it clears when the assistant says that it was interrupted."""

    def __init__(self, assistant: Assistant) -> None:
        self._assistant = assistant

    async def answer(self, request: Request) -> Response:
        return Response(200, TWIML, "text/xml")

    async def upgrade(self, target: str, head: Rewound, stream: trio.SocketStream) -> None:
        async with httpx.AsyncClient(headers={"Authorization": "Bearer k", "User-Agent": "wire"}) as client:
            reply = await client.post(f"{self._assistant.base_url}/call", json=ORDER)
        address = urlsplit(reply.json()["transport"]["websocketCallUrl"])
        far = await trio.open_tcp_stream(str(address.hostname), address.port or 80)
        async with far, trio.open_nursery() as nursery:
            phone = await (await wrap_server_stream(nursery, head)).accept()
            voice = await wrap_client_stream(nursery, far, address.netloc, address.path)
            await self.copy(nursery, phone, voice)
            nursery.cancel_scope.cancel()

    async def copy(self, nursery: trio.Nursery, phone: WebSocketConnection, voice: WebSocketConnection) -> None:
        await phone.get_message()
        sid = json.loads(await phone.get_message())["streamSid"]

        async def down() -> None:
            while True:
                message = await voice.get_message()
                if isinstance(message, bytes):
                    media = {"payload": base64.b64encode(message).decode()}
                    await phone.send_message(json.dumps({"event": "media", "streamSid": sid, "media": media}))
                elif json.loads(message)["type"] == "user-interrupted":
                    await phone.send_message(json.dumps({"event": "clear", "streamSid": sid}))

        nursery.start_soon(down)
        while True:
            try:
                message = json.loads(await phone.get_message())
            except ConnectionClosed:
                return
            if message["event"] == "media":
                await voice.send_message(base64.b64decode(message["media"]["payload"]))


@asynccontextmanager
async def wired(behaviour: Behaviour) -> AsyncGenerator[tuple[str, Assistant], None]:
    async with open_assistant(key="k", behaviour=behaviour) as assistant, trio.open_nursery() as nursery:
        wire = Wire(assistant)
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, lambda s: serve_connection(s, wire.answer, wire.upgrade), [listener])
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}", assistant
        nursery.cancel_scope.cancel()


async def test_the_callers_words_come_back_from_the_echo_byte_for_byte() -> None:
    async with wired(Behaviour(script="echo")) as (url, assistant):
        async with open_phone(url, PhoneOptions(public_url=PUBLIC)) as phone:
            await phone.wait_streaming()
            await assistant.wait_call()
            await phone.say(spoken("stop", TELEPHONE))
            await phone.wait_quiet(600)
        (call,) = assistant.calls.values()
    assert spoken("stop", TELEPHONE) in call.received.audio
    assert call.received.audio.startswith(call.sent.audio)
    assert phone.result().warnings == []


async def test_an_interruption_is_heard_as_one() -> None:
    async with wired(Behaviour(script="tone", first_audio_ms=100)) as (url, assistant):
        async with open_phone(url, PhoneOptions(public_url=PUBLIC)) as phone:
            await phone.wait_streaming()
            await phone.wait_heard(300)
            await phone.say(spoken("stop", TELEPHONE))
            await phone.wait_quiet(150)
            heard_ms = phone.heard_audible_ms
            assert await phone.wait_heard(200)
        (call,) = assistant.calls.values()
    assert heard_ms < 1500
    assert len(phone.result().clears) == 1
    assert len(call.record.sent_messages("user-interrupted")) == 1


async def test_a_caller_who_interrupts_the_greeting_hears_an_answer() -> None:
    async with wired(Behaviour(first_audio_ms=100)) as (url, assistant):
        async with open_phone(url, PhoneOptions(public_url=PUBLIC)) as phone:
            await phone.wait_streaming()
            await phone.wait_heard(300)
            await phone.say(spoken("stop", TELEPHONE))
            assert await phone.wait_heard(1000)
        (call,) = assistant.calls.values()
    assert len(call.record.sent_messages("user-interrupted")) == 1
    assert phone.result().warnings == []
