"""Turns the text and binary messages that a browser sends into events.

The same messages travel over a WebSocket and over HTTP polling. Text is JSON with a `type`; a binary message is PCM
behind a header of three big-endian uint32: sequence, milliseconds since the start, turn.
"""

import struct
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from relay.errors import MessageUnsupported, RemoteProtocolError
from relay.media.frames import AudioFormat, Encoding
from relay.wire.json_text import WireCode, field_error, find_misfit, label, not_json

HEADER_BYTES = 12
AUDIO_MAX_BYTES = 32_768
"""In one message: 42 ms of the widest format, a second of the usual one."""
TEXT_MAX_CHARACTERS = 60_000
"""Enough for that much audio in base64, which takes 43 692, and all other fields."""
RATE_MIN_HZ, RATE_MAX_HZ = 8_000, 96_000

HEADER = struct.Struct(">III")


class BrowserCode(StrEnum):
    """The faults of a client's message that `WireCode` has no name for."""

    UNKNOWN_TYPE = "UNKNOWN_TYPE"
    NOT_BASE64 = "NOT_BASE64"
    AUDIO_EMPTY = "AUDIO_EMPTY"
    ODD_BYTES = "ODD_BYTES"
    TOO_LARGE = "TOO_LARGE"
    HEADER_SHORT = "HEADER_SHORT"
    SEQUENCE_ZERO = "SEQUENCE_ZERO"
    SEQUENCE_BACKWARDS = "SEQUENCE_BACKWARDS"
    START_NOT_FIRST = "START_NOT_FIRST"
    RATE_UNSUPPORTED = "RATE_UNSUPPORTED"
    CHANNELS_UNSUPPORTED = "CHANNELS_UNSUPPORTED"
    ENCODING_UNSUPPORTED = "ENCODING_UNSUPPORTED"
    WRONG_RATE = "WRONG_RATE"
    TOO_FAST = "TOO_FAST"


class ClientStart(Struct, frozen=True):
    """The client opens a session, or attaches to one again.

    `format` is None if the message says nothing of it. `after` is the number of the last message that the client has.
    """

    format: AudioFormat | None = None
    token: str | None = None
    resume: str | None = None
    after: int | None = None

    def __repr__(self) -> str:
        return f"ClientStart({self.format}, resumes={self.resume is not None}, after={self.after})"


class ClientAudio(Struct, frozen=True):
    """The client sends audio: whole sample blocks of `format`.

    `sequence` counts messages from 1; `ms` is media time since the session began. Both are None where the message has
    none.
    """

    format: AudioFormat
    data: bytes
    sequence: int | None = None
    ms: int | None = None

    def __repr__(self) -> str:
        return f"ClientAudio(sequence={self.sequence}, ms={self.ms}, {len(self.data)} bytes)"


class ClientPlayed(Struct, frozen=True):
    """The client has played `ms` of this turn."""

    turn: int
    ms: int


class ClientStop(Struct, frozen=True):
    """The client ends the session."""


Event = ClientStart | ClientAudio | ClientPlayed | ClientStop

_Number = Annotated[int, Meta(ge=0, lt=2**32)]


class _StartFrame(Struct, tag="start", rename="camel"):
    sample_rate: int | None = None
    channels: int | None = None
    encoding: str | None = None
    token: str | None = None
    resume: str | None = None
    after: _Number | None = None


class _AudioFrame(Struct, tag="audio", rename="camel"):
    audio: bytes
    seq: _Number | None = None
    sample_rate: int | None = None


class _PlayedFrame(Struct, tag="played"):
    turn: _Number
    ms: Annotated[float, Meta(ge=0, lt=2**32)]


class _StopFrame(Struct, tag="stop"):
    pass


_decoder: msgspec.json.Decoder[_StartFrame | _AudioFrame | _PlayedFrame | _StopFrame] = msgspec.json.Decoder(
    _StartFrame | _AudioFrame | _PlayedFrame | _StopFrame
)


def parse(message: str | bytes, declared: AudioFormat) -> Event:
    """Return the event in one message; `declared` is the format that `start` gave. Unknown fields are passed over.

    Raises `RemoteProtocolError` with a `BrowserCode` or a `WireCode`, and nothing else, whatever the input:
    `MessageUnsupported` for what is well formed.
    """
    if isinstance(message, bytes):
        return parse_binary(message, declared)
    if len(message) > TEXT_MAX_CHARACTERS:
        raise _too_large(f"a text message of {len(message)} characters")
    try:
        frame = _decoder.decode(message)
    except msgspec.ValidationError:
        raise _explain(message) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise not_json("the message") from None
    match frame:
        case _StartFrame():
            return ClientStart(_format_of(frame), frame.token, frame.resume, frame.after)
        case _AudioFrame():
            return _audio_of(frame, declared)
        case _PlayedFrame(turn=turn, ms=ms):
            return ClientPlayed(turn, int(ms))
        case _StopFrame():
            return ClientStop()


def parse_binary(message: bytes, declared: AudioFormat) -> ClientAudio:
    """Return the audio in one binary message. Raises as `parse` does."""
    if len(message) < HEADER_BYTES:
        raise RemoteProtocolError(
            f"a binary message begins with {HEADER_BYTES} bytes of header", BrowserCode.HEADER_SHORT
        )
    sequence, ms, _ = HEADER.unpack_from(message)
    return _audio(declared, message[HEADER_BYTES:], sequence, ms)


def _audio_of(frame: _AudioFrame, declared: AudioFormat) -> ClientAudio:
    audio_format = declared
    if frame.sample_rate is not None and frame.sample_rate != declared.rate_hz:
        _check_rate(frame.sample_rate)
        audio_format = AudioFormat(declared.encoding, frame.sample_rate, declared.channels)
    return _audio(audio_format, frame.audio, frame.seq, None)


def _audio(audio_format: AudioFormat, data: bytes, sequence: int | None, ms: int | None) -> ClientAudio:
    if len(data) > AUDIO_MAX_BYTES:
        raise _too_large(f"{len(data)} bytes of audio")
    if sequence == 0:
        raise RemoteProtocolError("the sequence begins at 1", BrowserCode.SEQUENCE_ZERO)
    if len(data) % audio_format.block_bytes:
        raise RemoteProtocolError(
            f"{len(data)} bytes are not a whole number of samples of {audio_format}", BrowserCode.ODD_BYTES
        )
    if not data:
        raise MessageUnsupported("an audio message without audio", BrowserCode.AUDIO_EMPTY)
    return ClientAudio(audio_format, data, sequence, ms)


def _format_of(frame: _StartFrame) -> AudioFormat | None:
    """Return the format, with 16000 Hz, mono and pcm_s16le for what is not said; None if nothing is."""
    if frame.sample_rate is None and frame.channels is None and frame.encoding is None:
        return None
    rate_hz = 16_000 if frame.sample_rate is None else frame.sample_rate
    channels = 1 if frame.channels is None else frame.channels
    encoding = Encoding.PCM_S16LE if frame.encoding is None else frame.encoding
    _check_rate(rate_hz)
    if channels not in {1, 2}:
        raise RemoteProtocolError("channels must be 1 or 2", BrowserCode.CHANNELS_UNSUPPORTED)
    if encoding not in {Encoding.PCM_S16LE, Encoding.PCM_F32LE}:
        raise RemoteProtocolError("encoding must be pcm_s16le or pcm_f32le", BrowserCode.ENCODING_UNSUPPORTED)
    return AudioFormat(Encoding(encoding), rate_hz, channels)


def _check_rate(rate_hz: int) -> None:
    if not RATE_MIN_HZ <= rate_hz <= RATE_MAX_HZ:
        raise RemoteProtocolError(
            f"sampleRate must be from {RATE_MIN_HZ} to {RATE_MAX_HZ}", BrowserCode.RATE_UNSUPPORTED
        )


def _too_large(what: str) -> RemoteProtocolError:
    limit = f"at most {AUDIO_MAX_BYTES} bytes of audio in a message"
    return RemoteProtocolError(f"{what} is too large: {limit}; send less at a time", BrowserCode.TOO_LARGE)


def _explain(message: str) -> RemoteProtocolError:
    wrong = find_misfit(_decoder, message, "the message")
    if wrong.path == "audio" and wrong.string is not None:
        return RemoteProtocolError("audio is not base64", BrowserCode.NOT_BASE64)
    if wrong.path == "type" and wrong.string is not None:
        text = f"there is no message of the type {label(wrong.string)!r}"
        return MessageUnsupported(text, BrowserCode.UNKNOWN_TYPE)
    return field_error(wrong, "the message")


def parse_frames(body: bytes, declared: AudioFormat) -> Iterator[ClientAudio | RemoteProtocolError]:
    """Give the frames of a polling body, {uint32 length, binary message}* in big-endian order, one at a time:
    a body may hold 200,000. In place of one that is wrong comes its error, and the others follow.

    A body whose lengths do not add up ends with FIELD_INVALID.
    """
    at = 0
    while at < len(body):
        length = int.from_bytes(body[at : at + 4], "big")
        at += 4
        if at + length > len(body):
            text = f"a frame of {length} bytes is announced, {max(0, len(body) - at)} follow"
            yield RemoteProtocolError(text, WireCode.FIELD_INVALID)
            return
        try:
            frame = parse_binary(body[at : at + length], declared)
        except RemoteProtocolError as error:
            yield error.with_traceback(None)  # which would hold this frame, and that the error
        else:
            yield frame
        at += length
