"""The relay's encoders and parsers against the stand-ins', which were written apart from them."""

import json
from typing import Any

import pytest

from relay.media.frames import TELEPHONE, WIDEBAND, AudioFormat
from relay.standin.assistant.behaviour import Behaviour
from relay.standin.assistant.conversation import AssistantConversation
from relay.standin.assistant.inbound import parse
from relay.standin.assistant.order import read_order
from relay.standin.phone.player import Player
from relay.standin.phone.signature import sign
from relay.standin.phone.stream import StreamMessages
from relay.standin.phone.twiml import Hangup, Pause, Redirect, Say, Stream, read_twiml
from relay.standin.phrases import spoken
from relay.wire import signature, twilio, twiml, vapi, vapi_call, vapi_controls


@pytest.mark.parametrize("form", [TELEPHONE, WIDEBAND])
def test_the_relays_order_is_accepted_and_means_what_it_says(form: AudioFormat) -> None:
    body = vapi_call.call_request(
        "a",
        form,
        max_duration_s=3600.0,
        silence_timeout_s=300.0,
        first_message_interruptions=True,
        metadata={"call": "c"},
        name="n",
        first_message_waits=True,
    )
    order = read_order(json.loads(json.dumps(body)))
    assert order.format == form
    assert (order.max_duration_s, order.silence_timeout_s) == (3600, 300)
    assert order.first_is_interruptible
    assert not order.speaks_first
    assert order.wants("user-interrupted")
    assert order.wants("speech-update")


@pytest.mark.parametrize(
    "message",
    [
        vapi_controls.end_call(),
        vapi_controls.dtmf_note("5"),
        vapi_controls.add_message("system", "x", trigger_response=False),
    ],
)
def test_the_relays_messages_to_the_assistant_are_known(message: str) -> None:
    assert parse(message)


def test_the_relay_understands_every_message_of_a_whole_conversation() -> None:
    call = AssistantConversation(read_order(ORDER), Behaviour(think_ms=1600), 0.0)
    uplink = bytearray(TELEPHONE.silent_frame * 250)
    for name in ("request", "stop", "question"):
        uplink += spoken(name, TELEPHONE) + TELEPHONE.silent_frame * 250
    texts: list[str] = []
    for tick in range(len(uplink) // 160):
        call.receive_audio(bytes(uplink[tick * 160 : tick * 160 + 160]), tick * 0.02)
        call.tick(tick * 0.02)
        texts += [message for message in call.outbox if isinstance(message, str)]
        call.outbox.clear()
    kinds = {type(event) for text in texts if (event := vapi.parse(text)) is not None}
    assert kinds >= {vapi.StatusUpdate, vapi.SpeechUpdate, vapi.Transcript, vapi.UserInterrupted}


ORDER: dict[str, Any] = {
    "assistantId": "a",
    "transport": {"provider": "vapi.websocket", "audioFormat": {"format": "mulaw", "sampleRate": 8000}},
    "assistantOverrides": {"firstMessageInterruptionsEnabled": True},
}


def test_the_relay_understands_every_message_of_a_media_stream() -> None:
    out = StreamMessages("AC1", "CA1", "MZ1")
    texts = [out.connected(), out.start({"token": "t"}), out.media(b"\xff" * 160), out.dtmf("5"), out.mark("m")]
    kinds = [type(twilio.parse(text)) for text in [*texts, out.stop()]]
    expected = [twilio.Connected, twilio.StreamStart, twilio.Media, twilio.Dtmf, twilio.MarkEcho, twilio.StreamStop]
    assert kinds == expected


def test_the_relays_stream_messages_raise_no_warning() -> None:
    player = Player("MZ1", 0.0)
    player.receive(twilio.media("MZ1", b"a" * 160), 0.0)
    player.receive(twilio.mark("MZ1", twilio.mark_name(3, 117)), 0.0)
    assert player.receive(twilio.clear("MZ1"), 0.01) == [twilio.mark_name(3, 117)]
    assert player.warnings == []
    assert bytes(player.heard) == b"a" * 80


def test_the_relays_twiml_is_obeyed() -> None:
    document = twiml.connect_stream("wss://h/m", "t", "https://h/s", "https://h/r")
    stream, redirect = read_twiml(document)
    assert isinstance(stream, Stream)
    assert (stream.url, stream.parameters["token"], stream.status_callback) == ("wss://h/m", "t", "https://h/s")
    assert redirect == Redirect("https://h/r")
    assert read_twiml(twiml.hangup()) == [Hangup()]
    assert read_twiml(twiml.say_and_hangup("Sorry.")) == [Say("Sorry."), Hangup()]
    assert read_twiml(twiml.pause_and_redirect(2, "https://h/v")) == [Pause(2), Redirect("https://h/v")]


def test_the_callers_signature_satisfies_the_relay() -> None:
    validator = signature.TwilioValidator(("auth",))
    form = {"CallSid": "CA1", "From": "+15005550006", "Empty": ""}
    made = sign("auth", "https://h/twilio/voice", form)
    assert validator.form_valid("https://h/twilio/voice", form.items(), made, None)
    assert not validator.form_valid("https://h/twilio/voice", {**form, "From": "+1"}.items(), made, None)
    assert validator.handshake_valid("wss://h/twilio/media", sign("auth", "wss://h/twilio/media"), None)
