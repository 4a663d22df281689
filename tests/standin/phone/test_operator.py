"""The operator does what TwiML says, verb by verb, and reports what comes of it, as Twilio does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import trio
from trio.testing import MockClock

from relay.standin.phone import PhoneOptions, open_phone, place_call
from relay.standin.phone.lips import Lips
from relay.standin.phone.operator import Operator
from relay.standin.phone.phone import Phone
from relay.standin.phone.signature import sign
from relay.standin.phone.webhooks import Site, Webhooks
from tests.support.small_relay import OPTIONS, PUBLIC, STREAM, TOKEN, MediaLeg, listen, small_relay


@asynccontextmanager
async def operator(document: str) -> AsyncIterator[Operator]:
    """One whose every webhook is answered with this document."""

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text=f"<Response>{document}</Response>")

    placed_s = trio.current_time()
    phone = Phone(PhoneOptions(), "CA1", placed_s, Lips(placed_s))
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client, trio.open_nursery() as callbacks:
        yield Operator(phone, Webhooks(Site("http://127.0.0.1:9", PUBLIC), None, client), callbacks)


@pytest.mark.parametrize(
    ("document", "end", "steps", "takes_s"),
    [
        ("<Say>Please wait a moment.</Say><Hangup/>", "twiml_hangup", ["Say: Please wait a moment."], 1.4),
        ("<Pause length='2'/><Pause/>", "twiml_completed", [], 3.0),
        ("<Reject reason='busy'/><Pause length='9'/>", "rejected", ["Reject: busy"], 0.0),
        ("<Dial>+15005550009</Dial><Hangup/>", "twiml_hangup", ["Dial: +15005550009"], 0.0),
        ("<Hangup/><Pause length='9'/>", "twiml_hangup", [], 0.0),
        ("", "twiml_completed", [], 0.0),
    ],
)
async def test_each_verb_takes_its_time_and_the_call_ends_when_none_is_left(
    document: str, end: str, steps: list[str], takes_s: float, autojump_clock: MockClock
) -> None:
    async with operator(document) as asked:
        began_s = trio.current_time()

        assert await asked.connect_call() == end
        assert trio.current_time() - began_s == pytest.approx(takes_s)
        assert asked.phone.steps[1:] == steps


async def test_a_document_that_leads_back_to_itself_is_left_after_50_of_them() -> None:
    async with operator("<Redirect>/twilio/voice</Redirect>") as asked:
        assert await asked.connect_call() == "twiml_error"
        assert asked.phone.steps == ["/twilio/voice: Redirect"] * 50
        assert asked.phone.troubles == ["12100: too many documents"]


async def test_the_webhook_and_the_handshake_are_signed_as_twilio_signs_them() -> None:
    async with small_relay(listen) as small, open_phone(small.url, OPTIONS) as phone:
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
    async with small_relay(listen) as small, open_phone(small.url, PhoneOptions(public_url=PUBLIC)) as phone:
        await phone.wait_streaming()
    assert "x-twilio-signature" not in small.requests[0].headers | small.legs[0].headers


async def test_when_the_relay_closes_the_next_verb_follows() -> None:
    async def leave(leg: MediaLeg) -> None:
        await leg.started()

    voice = STREAM + "<Redirect>/resume</Redirect>"
    async with small_relay(leave, voice=voice, resume=[STREAM + "<Redirect>/resume</Redirect>", "<Hangup/>"]) as small:
        result = await place_call(small.url, options=OPTIONS)
    assert (result.end, result.streams, result.ok) == ("twiml_hangup", 2, True)
    assert [form["CallStatus"] for form in small.forms("/resume")] == ["in-progress"] * 2
    sids = [leg.messages[1]["start"]["streamSid"] for leg in small.legs]
    assert len(set(sids)) == 2
    assert len({leg.messages[1]["start"]["callSid"] for leg in small.legs}) == 1


async def test_a_dropped_stream_goes_on_with_the_next_verb() -> None:
    voice = STREAM + "<Redirect>/resume</Redirect>"
    async with small_relay(listen, voice=voice, resume=[STREAM, "<Hangup/>"]) as small:
        async with open_phone(small.url, OPTIONS) as phone:
            await phone.wait_streaming()
            phone.drop()
            await phone.wait_until(lambda: len(phone.streams) == 2 and phone.is_streaming, 5)
        assert len(small.legs) == 2
        assert "stop" not in [message["event"] for message in small.legs[0].messages]
        assert small.legs[1].messages[-1]["event"] == "stop"
    assert phone.result().end == "caller_hangup"


async def test_action_replaces_what_follows() -> None:
    async def leave(leg: MediaLeg) -> None:
        await leg.started()

    voice = STREAM.replace("<Connect>", '<Connect action="/resume">') + "<Reject/>"
    async with small_relay(leave, voice=voice, resume=["<Pause length='0'/><Hangup/>"]) as small:
        result = await place_call(small.url, options=OPTIONS)
    assert result.end == "twiml_hangup"


async def test_a_refused_handshake_is_31920_and_the_next_verb_follows() -> None:
    async with small_relay(None, voice=STREAM + "<Redirect>/resume</Redirect>", resume=["<Hangup/>"]) as small:
        result = await place_call(small.url, options=OPTIONS)
    assert (result.end, result.streams, result.ok) == ("twiml_hangup", 0, False)
    assert result.warnings == ["31920: handshake refused 403"]


async def test_status_callbacks_tell_the_stream_and_are_signed() -> None:
    async def leave(leg: MediaLeg) -> None:
        await leg.started()

    voice = STREAM.replace("<Stream ", '<Stream name="n" statusCallback="https://relay.example.com/status" ')
    async with small_relay(leave, voice=voice, status=[""]) as small:
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
    async with small_relay(listen, voice=voice) as small:
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
        async with small_relay(listen, voice="<Redirect>/missing</Redirect>", resume=["<Hangup/>"]) as small:
            result = await place_call(small.url, options=options)
        assert result.end == end
        assert result.steps[:2] == ["/twilio/voice: Redirect", "fallback"]


async def test_a_stream_that_did_not_come_about_is_reported_with_its_reason() -> None:
    voice = STREAM.replace("<Stream ", '<Stream name="n" statusCallback="https://relay.example.com/status" ')
    async with small_relay(None, voice=voice, status=[""]) as small:
        await place_call(small.url, options=OPTIONS)
    (form,) = small.forms("/status")

    assert (form["StreamEvent"], form["StreamError"]) == ("stream-error", "31920: handshake refused 403")


async def test_a_report_that_cannot_be_delivered_is_a_warning_and_the_call_goes_on() -> None:
    async def leave(leg: MediaLeg) -> None:
        await leg.started()

    voice = STREAM.replace("<Stream ", '<Stream name="n" statusCallback="https://relay.example.com/missing" ')
    async with small_relay(leave, voice=voice) as small:
        result = await place_call(small.url, options=OPTIONS)

    assert result.end == "twiml_completed"
    assert result.warnings == ["11200: /missing: 404"] * 2
