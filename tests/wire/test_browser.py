"""The messages that a browser sends: what is read, and each way it can be wrong by its own code."""

import base64
import json
import struct
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import RemoteProtocolError
from relay.media.frames import AudioFormat, Encoding
from relay.wire import browser
from relay.wire.browser import BrowserCode, ClientAudio, ClientPlayed, ClientStart, ClientStop, parse, parse_frames
from relay.wire.json_text import WireCode

MONO = AudioFormat(Encoding.PCM_S16LE, 16_000)
STEREO = AudioFormat(Encoding.PCM_S16LE, 48_000, 2)
FLOAT_STEREO = AudioFormat(Encoding.PCM_F32LE, 48_000, 2)
CODES = {*BrowserCode, *WireCode}


def text(kind: str | None, **fields: Any) -> str:
    return json.dumps(fields if kind is None else {"type": kind, **fields})


def binary(sequence: int, ms: int = 0, pcm: bytes = b"\1\0" * 4, turn: int = 0) -> bytes:
    return struct.pack(">III", sequence, ms, turn) + pcm


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (text("start"), ClientStart()),
        (text("start", sampleRate=16000), ClientStart(MONO)),
        (text("start", channels=1), ClientStart(MONO)),
        (text("start", encoding="pcm_s16le"), ClientStart(MONO)),
        (text("start", sampleRate=48000, channels=2), ClientStart(STEREO)),
        (text("start", sampleRate=48000, channels=2, encoding="pcm_f32le"), ClientStart(FLOAT_STEREO)),
        (text("start", token="t", resume="r", after=7), ClientStart(None, "t", "r", 7)),
        (text("start", somethingNew=1), ClientStart()),
        (text("audio", audio=b64(b"\1\0")), ClientAudio(MONO, b"\1\0")),
        (text("audio", audio=b64(b"\1\0"), seq=9), ClientAudio(MONO, b"\1\0", 9)),
        (
            text("audio", audio=b64(b"\1\0"), sampleRate=8000),
            ClientAudio(AudioFormat(Encoding.PCM_S16LE, 8000), b"\1\0"),
        ),
        (text("played", turn=3, ms=120), ClientPlayed(3, 120)),
        (text("played", turn=3, ms=120.7), ClientPlayed(3, 120)),
        (text("stop"), ClientStop()),
        (binary(1, 20), ClientAudio(MONO, b"\1\0" * 4, 1, 20)),
        (binary(2**32 - 1, 2**32 - 1, turn=5), ClientAudio(MONO, b"\1\0" * 4, 2**32 - 1, 2**32 - 1)),
    ],
)
def test_each_message_of_a_client_becomes_its_event(message: str | bytes, event: browser.Event) -> None:
    assert parse(message, MONO) == event


@pytest.mark.parametrize(
    ("message", "declared", "code"),
    [
        ("nonsense", MONO, WireCode.NOT_JSON),
        ('{"type":"stop","x":' + "[" * 5000, MONO, WireCode.NOT_JSON),
        ("\ud800", MONO, WireCode.NOT_JSON),
        ("[]", MONO, WireCode.NOT_OBJECT),
        ("7", MONO, WireCode.NOT_OBJECT),
        (text(None, audio=""), MONO, WireCode.FIELD_MISSING),
        (text("audio"), MONO, WireCode.FIELD_MISSING),
        (text("played", turn=1), MONO, WireCode.FIELD_MISSING),
        (text("played", turn=-1, ms=1), MONO, WireCode.FIELD_INVALID),
        (text("played", turn=1, ms=-1), MONO, WireCode.FIELD_INVALID),
        (text("audio", audio=7), MONO, WireCode.FIELD_INVALID),
        (text("audio", audio="", seq=2**32), MONO, WireCode.FIELD_INVALID),
        (text("start", sampleRate="fast"), MONO, WireCode.FIELD_INVALID),
        (json.dumps({"type": 5}), MONO, WireCode.FIELD_INVALID),
        (text("shout"), MONO, BrowserCode.UNKNOWN_TYPE),
        (text(""), MONO, BrowserCode.UNKNOWN_TYPE),
        (text("base64"), MONO, BrowserCode.UNKNOWN_TYPE),
        (text("a\nb"), MONO, BrowserCode.UNKNOWN_TYPE),
        ('{"type":"shout","x":', MONO, WireCode.NOT_JSON),
        (text("audio", audio="***"), MONO, BrowserCode.NOT_BASE64),
        (text("audio", audio="AAA"), MONO, BrowserCode.NOT_BASE64),
        (text("audio", audio=""), MONO, BrowserCode.AUDIO_EMPTY),
        (binary(1, pcm=b""), MONO, BrowserCode.AUDIO_EMPTY),
        (text("audio", audio=b64(b"\0")), MONO, BrowserCode.ODD_BYTES),
        (binary(1, pcm=b"\0\0\0"), MONO, BrowserCode.ODD_BYTES),
        (binary(1, pcm=b"\0\0"), STEREO, BrowserCode.ODD_BYTES),
        (binary(1, pcm=b"\0" * 12), FLOAT_STEREO, BrowserCode.ODD_BYTES),
        (b"", MONO, BrowserCode.HEADER_SHORT),
        (b"\0" * 11, MONO, BrowserCode.HEADER_SHORT),
        (binary(0), MONO, BrowserCode.SEQUENCE_ZERO),
        (text("audio", audio=b64(b"\0\0"), seq=0), MONO, BrowserCode.SEQUENCE_ZERO),
        (binary(1, pcm=bytes(browser.AUDIO_MAX_BYTES + 2)), MONO, BrowserCode.TOO_LARGE),
        (text("audio", audio=b64(bytes(browser.AUDIO_MAX_BYTES + 2))), MONO, BrowserCode.TOO_LARGE),
        (text("audio", audio="A" * browser.TEXT_MAX_CHARACTERS), MONO, BrowserCode.TOO_LARGE),
        (text("start", sampleRate=7999), MONO, BrowserCode.RATE_UNSUPPORTED),
        (text("start", sampleRate=96001), MONO, BrowserCode.RATE_UNSUPPORTED),
        (text("audio", audio=b64(b"\0\0"), sampleRate=1), MONO, BrowserCode.RATE_UNSUPPORTED),
        (text("start", channels=3), MONO, BrowserCode.CHANNELS_UNSUPPORTED),
        (text("start", channels=0), MONO, BrowserCode.CHANNELS_UNSUPPORTED),
        (text("start", encoding="opus"), MONO, BrowserCode.ENCODING_UNSUPPORTED),
        (text("start", encoding="mulaw"), MONO, BrowserCode.ENCODING_UNSUPPORTED),
    ],
)
def test_each_thing_that_is_wrong_has_its_code(message: str | bytes, declared: AudioFormat, code: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse(message, declared)

    assert caught.value.code == code


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (text("played", turn=1), "the message: ms is missing"),
        (text("played", turn=1, ms=-1), "the message: ms has a wrong type or value"),
        (text("start", sampleRate="fast"), "the message: sampleRate has a wrong type or value"),
        (text(None), "the message: type is missing"),
        (text("shout"), "there is no message of the type 'shout'"),
        (text("audio", audio="***"), "audio is not base64"),
        ("[]", "the message is not a JSON object"),
    ],
)
def test_the_text_of_an_error_names_the_field(message: str, says: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse(message, MONO)

    assert str(caught.value) == says


@given(st.text() | st.binary(max_size=64))
def test_whatever_comes_is_an_event_or_an_error_of_the_closed_set(message: str | bytes) -> None:
    with suppress(RemoteProtocolError):
        parse(message, MONO)
        return
    with pytest.raises(RemoteProtocolError) as caught:
        parse(message, MONO)
    assert caught.value.code in CODES


def test_errors_and_reprs_show_neither_tokens_nor_audio() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse(text("start", token="secret", resume=7), MONO)

    assert "secret" not in str(caught.value)
    assert "secret" not in repr(ClientStart(MONO, "secret", "secret"))
    assert "\\x41" not in repr(ClientAudio(MONO, b"AA"))
    assert "AA" not in repr(ClientAudio(MONO, b"AA"))


def test_a_body_holds_any_number_of_frames() -> None:
    frames = [binary(1, 0), binary(2, 20), binary(3, 40)]
    body = b"".join(struct.pack(">I", len(frame)) + frame for frame in frames)

    assert list(parse_frames(body, MONO)) == [parse(frame, MONO) for frame in frames]
    assert list(parse_frames(b"", MONO)) == []


def test_a_bad_frame_does_not_spoil_the_others() -> None:
    frames = [binary(1), binary(2, pcm=b"\0"), b"short", binary(4)]
    body = b"".join(struct.pack(">I", len(frame)) + frame for frame in frames)

    found = [frame.sequence if isinstance(frame, ClientAudio) else frame.code for frame in parse_frames(body, MONO)]

    assert found == [1, BrowserCode.ODD_BYTES, BrowserCode.HEADER_SHORT, 4]


@pytest.mark.parametrize("rest", [b"\0", b"\0\0\0", b"\0\0\0\x10", b"\xff\xff\xff\xffabc"])
def test_lengths_that_do_not_add_up_are_said_and_what_came_before_is_kept(rest: bytes) -> None:
    frame = binary(1)
    good, error = parse_frames(struct.pack(">I", len(frame)) + frame + rest, MONO)

    assert isinstance(good, ClientAudio)
    assert isinstance(error, RemoteProtocolError)
    assert (good.sequence, error.code) == (1, WireCode.FIELD_INVALID)


@given(st.binary(max_size=200))
def test_any_body_gives_frames_and_errors_of_the_closed_set(body: bytes) -> None:
    for frame in parse_frames(body, MONO):
        assert frame.data if isinstance(frame, ClientAudio) else frame.code in CODES
