"""The TwiML documents, read back with an XML parser."""

from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import LocalProtocolError
from relay.wire import twiml

STREAM = "wss://relay.example.com/twilio/media"
STATUS = "https://relay.example.com/twilio/status"
RESUME = "https://relay.example.com/twilio/resume"

DIALED = {"action": RESUME, "method": "POST", "timeout": "30"}

xml_text = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=60)


def shape(element: ET.Element) -> tuple[object, ...]:
    return (element.tag, dict(element.attrib), element.text, [shape(child) for child in element])


def test_connect_stream_is_the_documented_document() -> None:
    assert twiml.connect_stream(STREAM, "one-time", STATUS, RESUME) == (
        '<?xml version="1.0" encoding="UTF-8"?>'
        "<Response><Connect>"
        '<Stream url="wss://relay.example.com/twilio/media" name="relay"'
        ' statusCallback="https://relay.example.com/twilio/status" statusCallbackMethod="POST">'
        '<Parameter name="token" value="one-time" /></Stream></Connect>'
        '<Redirect method="POST">https://relay.example.com/twilio/resume</Redirect></Response>'
    )


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (twiml.hangup(), [("Hangup", {}, None, [])]),
        (twiml.dial("+15005550006"), [("Dial", {}, "+15005550006", [])]),
        (
            twiml.transfer("+15005550006", RESUME, 30),
            [("Dial", DIALED, None, [("Number", {}, "+15005550006", [])])],
        ),
        (
            twiml.transfer("sip:a@b.example;x=1", RESUME, 30),
            [("Dial", DIALED, None, [("Sip", {}, "sip:a@b.example;x=1", [])])],
        ),
        (twiml.redirect(RESUME), [("Redirect", {"method": "POST"}, RESUME, [])]),
        (twiml.say_and_hangup("Goodbye"), [("Say", {}, "Goodbye", []), ("Hangup", {}, None, [])]),
        (
            twiml.pause_and_redirect(2, RESUME),
            [("Pause", {"length": "2"}, None, []), ("Redirect", {"method": "POST"}, RESUME, [])],
        ),
    ],
)
def test_each_answer_has_its_verbs_in_order(document: str, expected: list[object]) -> None:
    assert shape(ET.fromstring(document)) == ("Response", {}, None, expected)


@given(xml_text.filter(bool))
def test_any_spoken_text_is_escaped_and_comes_back_whole(text: str) -> None:
    root = ET.fromstring(twiml.say_and_hangup(text))

    assert root.findtext("Say") == text
    assert [child.tag for child in root] == ["Say", "Hangup"]


@given(xml_text)
def test_any_token_is_escaped_and_comes_back_whole(token: str) -> None:
    root = ET.fromstring(twiml.connect_stream(STREAM, token, STATUS, RESUME))

    assert [found.attrib for found in root.iter("Parameter")] == [{"name": "token", "value": token}]


def test_an_ampersand_in_a_url_is_escaped() -> None:
    url = RESUME + "?a=1&b=<2>'\""

    assert ET.fromstring(twiml.pause_and_redirect(1, url)).findtext("Redirect") == url


def test_a_parameter_stays_below_500_characters() -> None:
    longest = "x" * (499 - len("token"))

    assert longest in twiml.connect_stream(STREAM, longest, STATUS, RESUME)
    with pytest.raises(LocalProtocolError, match="499"):
        twiml.connect_stream(STREAM, longest + "x", STATUS, RESUME)


@pytest.mark.parametrize(
    "url",
    [
        "ws://relay.example.com/twilio/media",
        "https://relay.example.com/twilio/media",
        "relay.example.com/twilio/media",
        "/twilio/media",
        "wss:///twilio/media",
        "wss://",
        "wss://[::1/twilio",
        "wss://relay.example.com/twilio/media?token=1",
        "wss://relay.example.com/twilio/media?",
        "wss://relay.example.com/twilio/media#x",
        "wss://relay.example.com/twilio/me dia",
        "wss://relay.example.com/twilio/media\n",
        "wss://r\u00e9lay.example.com/twilio/media",
        "",
    ],
)
def test_a_stream_url_is_wss_with_a_host_and_without_a_query(url: str) -> None:
    with pytest.raises(LocalProtocolError, match="url"):
        twiml.connect_stream(url, "t", STATUS, RESUME)


@pytest.mark.parametrize(
    "make",
    [
        lambda url: twiml.connect_stream(STREAM, "t", url, RESUME),
        lambda url: twiml.connect_stream(STREAM, "t", STATUS, url),
        lambda url: twiml.pause_and_redirect(1, url),
    ],
)
@pytest.mark.parametrize(
    "url", ["", "/twilio/resume", "ftp://h/x", "https://", "https://h/\x00", "javascript:alert(1)"]
)
def test_a_webhook_url_is_absolute(make: Callable[[str], str], url: str) -> None:
    with pytest.raises(LocalProtocolError, match="webhook url"):
        make(url)


@pytest.mark.parametrize("text", ["", "x" * 4097, "bell \x07", "nul \x00", "half \ud800", "no \uffff"])
def test_what_twilio_or_xml_cannot_carry_is_a_bug_of_ours(text: str) -> None:
    with pytest.raises(LocalProtocolError):
        twiml.say_and_hangup(text)


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_pause_is_a_second_or_more(seconds: int) -> None:
    with pytest.raises(LocalProtocolError, match="1 second"):
        twiml.pause_and_redirect(seconds, RESUME)


@pytest.mark.parametrize("number", ["", "15005550006", "+0123456789", "+123456", "+15005550006 ", "+1500555000<b/>"])
def test_a_number_to_dial_is_in_its_international_form(number: str) -> None:
    with pytest.raises(LocalProtocolError):
        twiml.dial(number)


def test_behind_a_stream_that_is_refused_stands_a_pause() -> None:
    document = twiml.refused_stream("wss://relay.example.com/nowhere", 8)

    assert document.endswith(
        '<Response><Connect><Stream url="wss://relay.example.com/nowhere" /></Connect><Pause length="8" /></Response>'
    )


@pytest.mark.parametrize(("url", "seconds"), [("ws://relay.example.com/", 8), ("wss://relay.example.com/", 0)])
def test_a_refused_stream_that_twilio_would_not_take_is_not_written(url: str, seconds: int) -> None:
    with pytest.raises(LocalProtocolError):
        twiml.refused_stream(url, seconds)


@pytest.mark.parametrize("destination", ["", "tel:+15005550006", "15005550006", "Sales"])
def test_nobody_else_is_dialled(destination: str) -> None:
    with pytest.raises(LocalProtocolError):
        twiml.transfer(destination, RESUME, 30)
