"""The simulated caller against small relays that behave, and against some that do not."""

import base64
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream
from wsproto.frame_protocol import CloseReason

from relay.media.wav import read_wav
from relay.standin.http import Request, Response, Rewound, serve_connection
from relay.standin.phone import Cue, PhoneEvent, PhoneOptions, mulaw_of_wav, open_phone, place_call
from relay.standin.phone.signature import sign
from relay.standin.sound import mulaw_to_samples, samples_to_mulaw, tone, write_wav
from tests.support.recordings import KINDS, fit_sine, sine, wav

TOKEN = "auth"
PUBLIC = "https://relay.example.com"
BEEP = samples_to_mulaw(tone(440, 0.2, 8000))
STREAM = '<Connect><Stream url="wss://relay.example.com/m"><Parameter name="token" value="t"/></Stream></Connect>'
OPTIONS = PhoneOptions(auth_token=TOKEN, public_url=PUBLIC)
Handler = Callable[["Leg"], Awaitable[None]]


@dataclass
class Leg:
    """One media socket, seen from the relay."""

    socket: WebSocketConnection
    headers: dict[str, str]
    sid: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)

    async def receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self.socket.get_message())
        self.messages.append(message)
        return message

    async def wait(self, event: str) -> dict[str, Any]:
        while (message := await self.receive())["event"] != event:
            pass
        return message

    async def started(self) -> None:
        self.sid = (await self.wait("start"))["streamSid"]

    async def media(self, data: bytes) -> None:
        await self.send("media", media={"payload": base64.b64encode(data).decode()})

    async def send(self, event: str, **body: Any) -> None:
        await self.socket.send_message(json.dumps({"event": event, "streamSid": self.sid, **body}))


@dataclass
class Relay:
    """Answers each webhook path with its documents, one after the other, and each socket with `handler`."""

    documents: Mapping[str, list[str]]
    handler: Handler | None
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    legs: list[Leg] = field(default_factory=list)

    def forms(self, path: str) -> list[dict[str, str]]:
        return [dict(parse_qsl(r.body.decode(), keep_blank_values=True)) for r in self.requests if r.target == path]

    async def answer(self, request: Request) -> Response:
        self.requests.append(request)
        waiting = self.documents.get(request.target)
        if waiting is None:
            return Response(404)
        document = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        return Response(200, f"<Response>{document}</Response>".encode(), "text/xml")

    async def upgrade(self, target: str, head: Rewound, stream: trio.SocketStream) -> None:
        async with trio.open_nursery() as nursery:
            request = await wrap_server_stream(nursery, head)
            if self.handler is None:
                await request.reject(403)
            else:
                headers = {name.decode().lower(): value.decode() for name, value in request.headers}
                headers["host"] = request._event.host  # trio-websocket keeps it from `headers`
                leg = Leg(await request.accept(), headers)
                self.legs.append(leg)
                with suppress(ConnectionClosed):
                    await self.handler(leg)
                with trio.move_on_after(1):
                    await leg.socket.aclose()
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def relay(handler: Handler | None, *, voice: str = STREAM, **documents: list[str]) -> AsyncGenerator[Relay, None]:
    paths = {"/twilio/voice": [voice], **{f"/{name}": texts for name, texts in documents.items()}}
    small = Relay(paths, handler)
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        small.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.start_soon(trio.serve_listeners, lambda s: serve_connection(s, small.answer, small.upgrade), [listener])
        yield small
        nursery.cancel_scope.cancel()


async def listen(leg: Leg) -> None:
    await leg.started()
    while True:
        await leg.receive()


async def test_the_webhook_and_the_handshake_are_signed_as_twilio_signs_them() -> None:
    async with relay(listen) as small, open_phone(small.url, OPTIONS) as phone:
        await phone.wait_streaming()
    (request,) = small.requests
    (form,) = small.forms("/twilio/voice")
    assert form["CallSid"] == phone.call_sid
    assert form["CallStatus"] == "ringing"
    assert request.headers["host"] == "relay.example.com"
    assert request.headers["x-twilio-signature"] == sign(TOKEN, f"{PUBLIC}/twilio/voice", form)
    (leg,) = small.legs
    assert leg.headers["host"] == "relay.example.com"
    assert leg.headers["user-agent"] == "Twilio.TmeWs/1.0"
    assert leg.headers["x-twilio-signature"] == sign(TOKEN, "wss://relay.example.com/m")


async def test_without_a_token_nothing_is_signed() -> None:
    async with relay(listen) as small, open_phone(small.url, PhoneOptions(public_url=PUBLIC)) as phone:
        await phone.wait_streaming()
    assert "x-twilio-signature" not in small.requests[0].headers | small.legs[0].headers


async def test_the_stream_is_twilios_in_order_and_numbered() -> None:
    async with relay(listen) as small, open_phone(small.url, OPTIONS) as phone:
        await phone.wait_streaming()
        await phone.say(BEEP)
        await phone.send_dtmf("5")
        await trio.sleep(0.05)
        await phone.hang_up()
    messages = small.legs[0].messages
    assert [message["event"] for message in messages[:3]] == ["connected", "start", "media"]
    assert messages[1]["start"]["customParameters"] == {"token": "t"}
    assert [int(message["sequenceNumber"]) for message in messages[1:]] == list(range(1, len(messages)))
    media = [message["media"] for message in messages if message["event"] == "media"]
    assert [int(m["timestamp"]) for m in media] == [20 * n for n in range(len(media))]
    assert BEEP in b"".join(base64.b64decode(m["payload"]) for m in media)
    assert {"track": "inbound_track", "digit": "5"} in [m.get("dtmf") for m in messages]
    assert messages[-1]["event"] == "stop"
    assert phone.result().end == "caller_hangup"


async def test_frames_leave_in_real_time() -> None:
    async with relay(listen) as small, open_phone(small.url, OPTIONS) as phone:
        await phone.wait_streaming()
        began_s = trio.current_time()
        await trio.sleep(1.0)
        frames = sum(message["event"] == "media" for message in small.legs[0].messages)
        assert frames <= (trio.current_time() - began_s) * 50 + 2


async def test_marks_come_back_when_played_and_are_counted() -> None:
    answered: list[str] = []

    async def speak(leg: Leg) -> None:
        await leg.started()
        await leg.media(BEEP)
        await leg.send("mark", mark={"name": "after"})
        answered.append((await leg.wait("mark"))["mark"]["name"])
        await leg.send("clear")

    async with relay(speak) as small, open_phone(small.url, OPTIONS) as phone:
        await phone.wait_ended()
    result = phone.result()
    assert answered == ["after"]
    assert (result.end, result.marks_returned, result.marks_cleared, len(result.clears)) == ("twiml_completed", 1, 0, 1)
    assert result.heard_ms == pytest.approx(200, abs=20)
    assert BEEP in phone.players[0].heard


async def test_a_clear_returns_the_marks_at_once_and_the_rest_is_never_heard() -> None:
    async def interrupt(leg: Leg) -> None:
        await leg.started()
        await leg.media(BEEP * 50)
        await leg.send("mark", mark={"name": "late"})
        await trio.sleep(0.2)
        await leg.send("clear")
        assert (await leg.wait("mark"))["mark"]["name"] == "late"

    events: list[PhoneEvent] = []
    options = PhoneOptions(auth_token=TOKEN, public_url=PUBLIC, on_event=events.append)
    async with relay(interrupt) as small, open_phone(small.url, options) as phone:
        await phone.wait_ended()
    result = phone.result()
    assert result.marks_cleared == 1
    assert result.clears[0]["cleared_ms"] > 9000
    assert result.heard_ms < 1000
    kinds = [event.kind for event in events]
    assert kinds[-1] == "call.ended"
    assert {"twiml", "stream.started", "clear", "mark-returned", "stream.ended"} <= set(kinds)


async def test_wrong_messages_are_warnings_and_the_call_goes_on() -> None:
    async def blunder(leg: Leg) -> None:
        await leg.started()
        await leg.socket.send_message(b"\xff" * 160)
        await leg.send("clear", extra=1)
        leg.sid, right = "MZwrong", leg.sid
        await leg.media(BEEP)
        leg.sid = right
        await leg.send("mark", mark={"name": "m"})
        await leg.wait("mark")

    async with relay(blunder) as small, open_phone(small.url, OPTIONS) as phone:
        await phone.wait_ended()
    result = phone.result()
    assert [warning[:5] for warning in result.warnings] == ["31950", "31951", "31951"]
    assert not result.ok
    assert result.heard_ms == 0


async def test_when_the_relay_closes_the_next_verb_follows() -> None:
    async def leave(leg: Leg) -> None:
        await leg.started()

    voice = STREAM + "<Redirect>/resume</Redirect>"
    async with relay(leave, voice=voice, resume=[STREAM + "<Redirect>/resume</Redirect>", "<Hangup/>"]) as small:
        result = await place_call(small.url, options=OPTIONS)
    assert (result.end, result.streams, result.ok) == ("twiml_hangup", 2, True)
    assert [form["CallStatus"] for form in small.forms("/resume")] == ["in-progress"] * 2
    sids = [leg.messages[1]["start"]["streamSid"] for leg in small.legs]
    assert len(set(sids)) == 2
    assert len({leg.messages[1]["start"]["callSid"] for leg in small.legs}) == 1


async def test_a_dropped_stream_goes_on_with_the_next_verb() -> None:
    voice = STREAM + "<Redirect>/resume</Redirect>"
    async with relay(listen, voice=voice, resume=[STREAM, "<Hangup/>"]) as small:
        async with open_phone(small.url, OPTIONS) as phone:
            await phone.wait_streaming()
            phone.drop()
            await phone.wait_until(lambda: len(phone.streams) == 2 and phone.is_streaming, 5)
        assert len(small.legs) == 2
        assert "stop" not in [message["event"] for message in small.legs[0].messages]
        assert small.legs[1].messages[-1]["event"] == "stop"
    assert phone.result().end == "caller_hangup"


async def test_action_replaces_what_follows() -> None:
    async def leave(leg: Leg) -> None:
        await leg.started()

    voice = STREAM.replace("<Connect>", '<Connect action="/resume">') + "<Reject/>"
    async with relay(leave, voice=voice, resume=["<Pause length='0'/><Hangup/>"]) as small:
        result = await place_call(small.url, options=OPTIONS)
    assert result.end == "twiml_hangup"


async def test_a_refused_handshake_is_31920_and_the_next_verb_follows() -> None:
    async with relay(None, voice=STREAM + "<Redirect>/resume</Redirect>", resume=["<Hangup/>"]) as small:
        result = await place_call(small.url, options=OPTIONS)
    assert (result.end, result.streams, result.ok) == ("twiml_hangup", 0, False)
    assert result.warnings == ["31920: handshake refused 403"]


async def test_a_peer_that_is_gone_in_the_handshake_is_not_waited_for() -> None:
    async def leave(target: str, head: Rewound, stream: trio.SocketStream) -> None:
        await trio.aclose_forcefully(stream)

    async with relay(listen) as small:
        setattr(small, "upgrade", leave)  # noqa: B010 - a method, replaced
        result = await place_call(small.url, options=OPTIONS)
    assert result.warnings == ["31920: connection lost in the handshake"]


async def test_status_callbacks_tell_the_stream_and_are_signed() -> None:
    async def leave(leg: Leg) -> None:
        await leg.started()

    voice = STREAM.replace("<Stream ", '<Stream name="n" statusCallback="https://relay.example.com/status" ')
    async with relay(leave, voice=voice, status=[""]) as small:
        await place_call(small.url, options=OPTIONS)
    forms = small.forms("/status")
    assert [form["StreamEvent"] for form in forms] == ["stream-started", "stream-stopped"]
    assert forms[0]["StreamName"] == "n"
    signed = [request.headers["x-twilio-signature"] for request in small.requests if request.target == "/status"]
    assert signed == [sign(TOKEN, f"{PUBLIC}/status", form) for form in forms]


@pytest.mark.parametrize(
    ("voice", "end", "warning"),
    [
        ("<Gather/>", "twiml_error", "12100"),
        ("<Connect><Stream url='wss://elsewhere.example.com/m'/></Connect>", "webhook_failed", "11200"),
        ("<Redirect>https://elsewhere.example.com/</Redirect>", "webhook_failed", "11200"),
        ("<Redirect>/missing</Redirect>", "webhook_failed", "11200"),
        ("<Redirect>/twilio/voice</Redirect>", "twiml_error", "12100"),
        ("<Reject reason='busy'/>", "rejected", ""),
        ("", "twiml_completed", ""),
    ],
)
async def test_other_answers_end_the_call_with_their_reason(voice: str, end: str, warning: str) -> None:
    async with relay(listen, voice=voice) as small:
        result = await place_call(small.url, options=OPTIONS)
    assert result.end == end
    assert [text[:5] for text in result.warnings] == ([warning] if warning else [])
    assert not result.ok


async def test_nobody_at_the_address_fails_after_one_retry() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
    await listener.aclose()
    result = await place_call(url)
    assert result.end == "webhook_failed"
    assert "ConnectError" in result.warnings[0]


async def test_a_document_that_twilio_holds_itself_is_obeyed_once_when_a_webhook_fails() -> None:
    fallback = "<Response><Pause length='0'/><Redirect>/{}</Redirect></Response>"
    for path, end in (("resume", "twiml_hangup"), ("missing", "webhook_failed")):
        options = PhoneOptions(auth_token=TOKEN, public_url=PUBLIC, fallback=fallback.format(path))
        async with relay(listen, voice="<Redirect>/missing</Redirect>", resume=["<Hangup/>"]) as small:
            result = await place_call(small.url, options=options)
        assert result.end == end
        assert result.steps[:2] == ["/twilio/voice: Redirect", "fallback"]


async def test_a_plan_is_carried_out_and_recorded(tmp_path: Path) -> None:
    async def converse(leg: Leg) -> None:
        await leg.started()
        await leg.media(BEEP * 10)
        await listen(leg)

    plan = [Cue(BEEP, at_s=0.1), Cue(BEEP, after_heard_ms=300)]
    async with relay(converse) as small:
        recording = tmp_path / "call.wav"
        result = await place_call(small.url, plan, options=OPTIONS, seconds=2.5, record=recording)
    assert result.end == "caller_hangup"
    assert result.ok
    assert result.duration_s == pytest.approx(2.5, abs=0.7)
    assert 1000 < result.heard_ms <= 2020
    said = b"".join(base64.b64decode(m["media"]["payload"]) for m in small.legs[0].messages if m["event"] == "media")
    assert said.count(BEEP) == 2
    sound = read_wav(recording)
    assert sound.rate_hz == 8000
    assert sound.duration_s == pytest.approx(result.duration_s, abs=0.3)
    assert json.dumps(result.as_json())


async def test_the_caller_can_hang_up_while_no_stream_is_open() -> None:
    async with relay(listen, voice="<Pause length='60'/>") as small, open_phone(small.url, OPTIONS) as phone:
        await phone.wait_until(lambda: bool(phone.steps))
        with trio.fail_after(20):
            await phone.hang_up()
    assert phone.result().end == "caller_hangup"


async def test_waiting_ends_with_the_call() -> None:
    async def leave(leg: Leg) -> None:
        await leg.started()

    async with relay(leave) as small, open_phone(small.url, OPTIONS) as phone:
        assert not await phone.wait_heard(100)
        assert not await phone.wait_quiet(60_000)
        with pytest.raises(RuntimeError, match="no stream"):
            await phone.send_dtmf("1")


async def test_quiet_is_noticed_after_what_was_heard() -> None:
    async def speak(leg: Leg) -> None:
        await leg.started()
        await leg.media(BEEP * 2)
        await listen(leg)

    async with relay(speak) as small, open_phone(small.url, OPTIONS) as phone:
        assert await phone.wait_heard(300)
        assert await phone.wait_quiet(200)
        assert phone.heard_audible_ms == pytest.approx(400, abs=40)


async def test_a_relay_that_closes_without_a_code_or_vanishes_ends_the_stream() -> None:
    async def bare(leg: Leg) -> None:
        await leg.started()
        await leg.socket.aclose(CloseReason.NO_STATUS_RCVD)

    async with relay(bare) as small:
        result = await place_call(small.url, options=OPTIONS)
    assert "stream closed 1005" in result.steps


def test_a_wav_of_any_rate_becomes_telephone_audio(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", 48000, tone(440, 0.5, 48000))
    assert len(mulaw_of_wav(tmp_path / "a.wav")) == 4000


@pytest.mark.parametrize("kind", KINDS)
def test_a_wav_of_any_kind_becomes_telephone_audio(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(np.stack([sine(44100)] * 2, axis=1), 44100, kind, size=0))
    fit = fit_sine(mulaw_to_samples(mulaw_of_wav(path)), 8000)

    assert fit.peak == pytest.approx(16384, rel=0.02)
    assert fit.rest < 400
