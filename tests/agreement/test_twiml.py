"""The relay's TwiML, against what Twilio's own library writes for the same verbs."""

from xml.etree.ElementTree import canonicalize

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.twiml.voice_response import VoiceResponse

from relay.wire import twiml
from tests.support.agreement import Note

urls = st.from_regex(r"https://[a-z]{1,9}\.example(:[1-9][0-9]{3})?(/[!-;=-~]{0,9}){0,3}", fullmatch=True)
tokens = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cn", "Cs"]), max_size=200)
spoken = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cn", "Cs"]), min_size=1, max_size=300)


def same(ours: str, theirs: VoiceResponse) -> bool:
    return canonicalize(ours) == canonicalize(theirs.to_xml())


@given(st.sampled_from(["wss://h.example/twilio/media", "wss://h.example:8443/m"]), tokens, urls, urls)
def test_a_stream_is_written_as_the_library_writes_it(stream_url: str, token: str, status: str, resume: str) -> None:
    theirs = VoiceResponse()
    stream = theirs.connect().stream(
        url=stream_url, name="relay", status_callback=status, status_callback_method="POST"
    )
    stream.parameter(name="token", value=token)
    theirs.redirect(resume, method="POST")

    assert same(twiml.connect_stream(stream_url, token, status, resume), theirs)


@given(spoken)
def test_words_are_written_as_the_library_writes_them(text: str) -> None:
    theirs = VoiceResponse()
    theirs.say(text)
    theirs.hangup()

    assert same(twiml.say_and_hangup(text), theirs)


@given(st.integers(min_value=1, max_value=600), urls)
def test_a_pause_is_written_as_the_library_writes_it(seconds: int, url: str) -> None:
    theirs = VoiceResponse()
    theirs.pause(length=seconds)
    theirs.redirect(url, method="POST")

    assert same(twiml.pause_and_redirect(seconds, url), theirs)


@given(st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True))
def test_a_number_is_dialled_as_the_library_dials_it(number: str) -> None:
    theirs = VoiceResponse()
    theirs.dial(number)

    assert same(twiml.dial(number), theirs)


@given(st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True), urls, st.integers(5, 600))
def test_a_transfer_to_a_number_is_written_as_the_library_writes_it(number: str, action: str, timeout_s: int) -> None:
    theirs = VoiceResponse()
    theirs.dial(action=action, method="POST", timeout=timeout_s).number(number)

    assert same(twiml.transfer(number, action, timeout_s), theirs)


@given(st.from_regex(r"sips?:[a-z&';=+]{1,9}@[a-z]{1,9}(;[a-z&=]{1,9})?", fullmatch=True), urls)
def test_a_transfer_to_an_address_is_written_as_the_library_writes_it(address: str, action: str) -> None:
    theirs = VoiceResponse()
    theirs.dial(action=action, method="POST", timeout=30).sip(address)

    assert same(twiml.transfer(address, action, 30), theirs)


@given(urls)
def test_a_redirect_is_written_as_the_library_writes_it(url: str) -> None:
    theirs = VoiceResponse()
    theirs.redirect(url, method="POST")

    assert same(twiml.redirect(url), theirs)


def test_a_hangup_is_written_as_the_library_writes_it(note: Note) -> None:
    theirs = VoiceResponse()
    theirs.hangup()

    assert same(twiml.hangup(), theirs)
    note("Twilio: kinds of TwiML document, with generated values", 5)


def test_a_stream_that_is_refused_is_written_as_the_library_writes_it() -> None:
    theirs = VoiceResponse()
    connect = theirs.connect()
    connect.stream(url="wss://relay.example.com/nowhere")
    theirs.pause(length=8)

    assert same(twiml.refused_stream("wss://relay.example.com/nowhere", 8), theirs)


@pytest.mark.parametrize("ours", [twiml.dial("+14155550100"), twiml.say_and_hangup("x")])
def test_the_comparison_finds_a_difference(ours: str) -> None:
    theirs = VoiceResponse()
    theirs.hangup()

    assert not same(ours, theirs)
