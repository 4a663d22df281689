"""TwiML is read as Twilio reads it, or refused with the reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.standin.phone.twiml import BadTwiml, DialVerb, Hangup, Pause, Redirect, Reject, Say, Stream, read_twiml


def test_the_relays_answer_is_understood() -> None:
    verbs = read_twiml(
        """<?xml version="1.0" encoding="UTF-8"?>
        <Response><Connect><Stream url="wss://h.example/m" name="n" statusCallback="https://h.example/s"
        statusCallbackMethod="POST"><Parameter name="token" value="t"/></Stream></Connect>
        <Redirect method="POST">https://h.example/r</Redirect></Response>"""
    )
    stream = Stream("wss://h.example/m", "n", {"token": "t"}, "https://h.example/s", None)
    assert verbs == [stream, Redirect("https://h.example/r")]


def test_the_other_verbs_are_read() -> None:
    document = (
        "<Response><Say voice='alice'>Sorry.</Say><Pause length='3'/><Pause/><Dial><Number>+15005550006</Number></Dial>"
        "<Reject reason='busy'/><Hangup/></Response>"
    )
    expected = [Say("Sorry."), Pause(3), Pause(1), DialVerb("+15005550006", None), Reject("busy"), Hangup()]
    assert read_twiml(document) == expected


@pytest.mark.parametrize(
    ("inside", "called"),
    [("+15005550006", "+15005550006"), ("<Sip>sip:a@b</Sip>", "sip:a@b"), ("<Number>+1</Number>", "+1")],
)
def test_what_follows_a_dial_may_be_asked_for(inside: str, called: str) -> None:
    document = f"<Response><Dial action='https://h/d' method='POST' timeout='20'>{inside}</Dial></Response>"

    assert read_twiml(document) == [DialVerb(called, "https://h/d")]


def stream(attributes: str, inside: str = "") -> str:
    return f"<Response><Connect><Stream {attributes}>{inside}</Stream></Connect></Response>"


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ("", "not XML"),
        ("<Response>", "not XML"),
        ("<Answer/>", "Response"),
        ("<Response><Gather/></Response>", "Gather"),
        ("<Response><hangup/></Response>", "hangup"),
        ("<Response><Hangup now='yes'/></Response>", "now"),
        ("<Response><Connect/></Response>", "one <Stream>"),
        (stream("url='ws://h/m'"), "31923"),
        (stream(""), "31923"),
        (stream("url='wss://h/m?token=t'"), "31920"),
        (stream("url='wss://h/m' track='both_tracks'"), "inbound"),
        (stream("url='wss://h/m' codec='x'"), "codec"),
        (stream("url='wss://h/m'", "<Parameter value='v'/>"), "without a name"),
        (stream("url='wss://h/m'", f"<Parameter name='n' value='{'v' * 499}'/>"), "500"),
        (stream("url='wss://h/m'", "<Param name='n' value='v'/>"), "Param"),
        ("<Response><Redirect/></Response>", "empty"),
        ("<Response><Dial/></Response>", "empty"),
        ("<Response><Dial timeout='1'>+15005550006</Dial></Response>", "timeout"),
        ("<Response><Dial><Queue>q</Queue></Dial></Response>", "one <Number> or <Sip>"),
        ("<Response><Dial><Number>+1</Number><Number>+2</Number></Dial></Response>", "one <Number> or <Sip>"),
        ("<Response><Redirect method='PUT'>/x</Redirect></Response>", "POST"),
        ("<Response><Pause length='soon'/></Response>", "seconds"),
        ("<Response><Reject reason='mood'/></Response>", "mood"),
    ],
)
def test_what_twilio_would_not_take_is_refused_with_its_reason(document: str, text: str) -> None:
    with pytest.raises(BadTwiml, match=text):
        read_twiml(document)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(BadTwiml):
        read_twiml(text)
